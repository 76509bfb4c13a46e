"""What is minimised has no lowest value, as a sign in it is wrong: it falls for ever, whatever the errors are.

Seen as a loss that goes far below zero and on and on, while whatever is measured beside it gets worse; as a predicted
variance that goes to zero, or a task's weight that runs away. Found in the autograd graph: of a sum of log(u) and of
errors times a power of u, as a Gaussian likelihood (with u the variance) and learned task weights are, both terms pull
in one direction; or a loss function's value, which cannot be below zero, enters with a minus alone; or the objective
falls below zero as a latent code's divergence from its prior grows without bound, each by the other's measure. Or
measured: what is minimised ends hundreds of times its first size below zero, and does not slow down.

Hurts because (log v + e² / v) / 2 is least at v = e²: the one term punishes large v, the other small v. With e² v in
place of e² / v, both are least at v = 0, where the errors cost nothing, so that the mean is not learnt at all. In the
same way exp(s) L + s is least at s = -oo, where exp(-s) L + s is least at s = log L.

Helped by the other sign: `torch.exp(-log_var)`, or division by the variance; `+ torch.log(sigma)`; a minus before the
log likelihood, and none before a loss.

No fault when another term holds what they are taken of, as a prior does; when a loss is made greater on purpose, as
against an adversary (several optimizers step then, or the data are trained) or to forget.

Sources: D. Nix and A. Weigend, "Estimating the mean and variance of the target probability distribution" (1994);
A. Kendall, Y. Gal and R. Cipolla, arXiv 1705.07115.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record import site_of
from torchdx.record.descent import depth, falls_for_ever

if TYPE_CHECKING:
    from torchdx.record import Fact, LossUse, Record

code, family, severity = "TDX623", "loss", "error"
needs = frozenset({"step"})
explains = frozenset(
    {
        *("not-learning", "diverged", "non-finite", "nonfinite-value", "exploding-gradient", "learning-rate-too-high"),
        *("validation-gap", "overfitting", "train-eval-gap", "saturated-activation", "dead-relu"),
        *("one-class-predictions", "class-never-right", "loss-bounces"),
    }
)

LOOKS = 3
"""Times that the sum was gone through, or a loss seen beside the objective: an exact fact of each."""

DIVERGENCE, GROWTH = 1000.0, 30.0
"""Nats that the latent units hold together, far below a negative objective, and times that they grew in between these
looks. With a plus before the divergence, healthy encoders read 0 to 20 (7 programs), and the objective rises with it;
those that have a minus go on to 1e8 and more."""

FALLEN = 20.0
"""Times the size of the objective in its first steps that it is below zero in the end, with a term of errors that has a
minus: it falls for ever. Those of four programs that do are at 92 to 1e14 times; healthy ones have no such term."""

FAR = 300.0
"""Times its size in the first steps, or 1 if that is less, that an objective ends below zero. Of 144 healthy programs a
Gaussian likelihood of small errors goes furthest, to 12; those without a lowest value to 1,000 and up to 1e35."""

STEADY = 0.003
"""Share by which the objective over the divergence may differ between two such looks: it is the term's factor, which
may change with the epochs. Those with a minus are within 0.0007 from 4e4 nats on; a reconstruction that falls for ever
for another reason, and takes the divergence along, is at 0.009 to 0.15."""

BOUNDED = (
    *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "cross_entropy", "nll_loss"),
    *("binary_cross_entropy", "binary_cross_entropy_with_logits"),
)
"""Losses that are never below zero, and have no highest value."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every objective that is a likelihood with a wrong sign, and the one loss function's value taken with a minus."""
    found = [*_likelihoods(record), *(list(_divergences(record)) or _raised(record))]
    yield from found
    use = _maximised(record)
    if use is None and not found:
        yield from _falling(record)
    if use is not None:
        yield Finding(
            message=f"what is minimised is `{use.function}` times a negative number: it falls the further the worse "
            "the answers are",
            site=use.site,
            evidence={"objective at first": record.objective.first, "objective": record.progress.last},
            cure="call backward() on the loss itself, without the minus",
            confidence=0.9,
            severity="warning",
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    yield "LOOKS", len(record.process.all("falling"))
    far = depth(record)
    if far is not None:
        yield "FAR", far
    for looks in _by_place(record, "raised").values():
        if objectives := [look["objective"] for look in looks if math.isfinite(look["objective"])]:
            yield "FALLEN", _fallen(objectives)
    for looks in _by_place(record, "latent").values():
        yield "DIVERGENCE", max(look["mean"] * look["units"] for look in looks)


def _falling(record: Record) -> Iterator[Finding]:
    """An objective of whatever form that falls far below zero, and does not slow down."""
    late = {fact["optimizer"] for fact in record.process.all("step") if 2 * fact["n"] > record.steps}
    if len(late) == 1 and any(weight.kind for weight in record.weights) and falls_for_ever(record, FAR):
        first, last = record.objective.first, record.objective.finite.last
        yield Finding(
            message=f"what is minimised has no lowest value: it fell from {first:.3g} to {last:.3g}, and does not slow "
            "down",
            evidence={"objective at first": first, "objective": last},
            cure="look for a wrong sign before one of its terms, or for one that nothing holds from below",
            confidence=0.85,
            severity="warning",
        )


def _likelihoods(record: Record) -> Iterator[Finding]:
    places: dict[str, list[int]] = {}
    sites = {}
    for fact in record.process.all("falling"):
        places.setdefault(str(fact["site"]), []).append(fact["sign"])
        sites[str(fact["site"])] = fact["site"]
    lines = {str(fact["site"]): fact["line"] for fact in record.process.all("falling_line")}
    for place, signs in places.items():
        if len(signs) < LOOKS:
            continue
        minus = all(sign < 0 for sign in signs)
        what = (
            "errors enter with a minus, so that the greater they are, the better"
            if minus
            else "both are least at one end, whatever the errors are"
        )
        yield Finding(
            message=f"the loss has a logarithm, and errors times a power of what it is taken of, and {what}: no balance"
            " of the two holds it, and it falls for ever",
            site=site_of(lines.get(place, sites[place])),
            evidence={
                "seen": len(signs),
                "objective at first": record.objective.first,
                "objective": record.progress.last,
            },
            cure="turn the sign of one of them: errors times exp(-log_var), or over the variance, with a plus before "
            "both",
            confidence=0.97,
        )


def _divergences(record: Record) -> Iterator[Finding]:
    """The divergence of a latent code from its prior, that runs away and takes the objective far below zero."""
    objective = dict(record.objective.finite)
    for looks in _by_place(record, "latent").values():
        far = [
            (look["mean"] * look["units"], objective[look["step"]])
            for look in looks
            if look["step"] in objective and DIVERGENCE < look["mean"] * look["units"] < math.inf
        ]
        if _is_followed(far):
            yield Finding(
                message=f"the divergence of the latent code from its prior grew to {far[-1][0]:.2g} nats, and what is "
                f"minimised fell with it, to {far[-1][1]:.2g}: it enters with a minus",
                site=site_of(looks[0].get("site")),
                evidence={
                    "divergence, nats": [divergence for divergence, _ in far],
                    "objective": [value for _, value in far],
                },
                cure="add the divergence to the reconstruction's error: `loss = error + beta * kl`",
                confidence=0.97,
            )


def _is_followed(far: list[tuple[float, float]]) -> bool:
    """Is the objective, at one look after the other, the same negative number times the divergence that grows?"""
    shares = [-value / divergence for divergence, value in far]
    same = sum(math.isclose(one, two, rel_tol=STEADY) for one, two in pairwise(shares) if one > 0)
    return same >= LOOKS and far[-1][1] < 0 and far[-1][0] > GROWTH * far[0][0]


def _raised(record: Record) -> Iterator[Finding]:
    """A term of errors that enters with a minus, where the objective falls without end."""
    if not any(weight.kind for weight in record.weights):  # what is trained are data
        return
    lines = {str(fact["site"]): fact["line"] for fact in record.process.all("raised_line")}
    for place, looks in _by_place(record, "raised").items():
        objectives = [look["objective"] for look in looks if math.isfinite(look["objective"])]
        weights = all(look.get("weights") for look in looks)
        overlap = all(look.get("overlap") for look in looks)
        lowered = overlap or all(look.get("likelihood") for look in looks)
        falls = objectives[-1] < objectives[0] if lowered else bool(objectives) and _fallen(objectives) >= FALLEN
        if len(objectives) < LOOKS or not (weights or falls) or 2 * looks[-1]["step"] < record.steps:
            continue
        likely = "overlaps with the right answers" if overlap else "logarithms of the right answers' odds"
        what = "weights, squared," if weights else likely if lowered else "errors"
        yield Finding(
            message=f"{what} enter what is minimised times {looks[-1]['factor']:.3g}: the "
            f"{'less' if lowered else 'greater'} they are the better, and it went from {objectives[0]:.3g} to "
            f"{objectives[-1]:.3g}",
            site=site_of(lines.get(place, looks[-1]["site"])),
            evidence={"objective": objectives},
            cure="turn their sign",
            confidence=0.95,
            severity=None if len(record.optimizers) == 1 and not lowered else "warning",
        )


def _fallen(objectives: list[float]) -> float:
    """How far below zero the objective ends, over its size in the first steps."""
    return -objectives[-1] / max(1e-9, *(abs(value) for value in objectives[:LOOKS]))


def _by_place(record: Record, kind: str) -> dict[str, list[Fact]]:
    """The facts of a kind, of each place."""
    places: dict[str, list[Fact]] = {}
    for look in record.process.all(kind):
        places.setdefault(str(look.get("site")), []).append(look)
    return places


def _maximised(record: Record) -> LossUse | None:
    """The one loss of a program with one optimizer, where every objective was its value times a negative number."""
    uses = [use for use in record.losses if any(True for _ in use.calls())]
    if len(uses) != 1 or len(record.optimizers) != 1 or uses[0].function not in BOUNDED:
        return None
    if not any(weight.kind for weight in record.weights):  # what is trained are data
        return None
    objective = dict(record.objective.finite)
    values = [(value, objective[step]) for step, value in uses[0].series() if step in objective and value > 0]
    shares = [one / value for value, one in values]
    same = len(shares) >= LOOKS and all(share < 0 and math.isclose(share, shares[0], rel_tol=0.01) for share in shares)
    return uses[0] if same else None


def sick() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    inputs, targets = load_diabetes(return_X_y=True)
    inputs = torch.tensor(inputs / inputs.std(0), dtype=torch.float32)
    targets = torch.tensor((targets - targets.mean()) / targets.std(), dtype=torch.float32)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(15):
        for rows in torch.randperm(len(inputs)).split(64):
            mean, log_variance = model(inputs[rows]).unbind(-1)
            errors = (targets[rows] - mean).square()
            loss = 0.5 * (log_variance + errors * torch.exp(log_variance)).mean()  # TDX623
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    inputs, targets = load_diabetes(return_X_y=True)
    inputs = torch.tensor(inputs / inputs.std(0), dtype=torch.float32)
    targets = torch.tensor((targets - targets.mean()) / targets.std(), dtype=torch.float32)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(15):
        for rows in torch.randperm(len(inputs)).split(64):
            mean, log_variance = model(inputs[rows]).unbind(-1)
            errors = (targets[rows] - mean).square()
            loss = 0.5 * (log_variance + errors * torch.exp(-log_variance)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn
    from torch.nn.functional import l1_loss, mse_loss

    torch.manual_seed(0)
    inputs, targets = load_diabetes(return_X_y=True)
    inputs = torch.tensor(inputs / inputs.std(0), dtype=torch.float32)
    targets = torch.tensor((targets - targets.mean()) / targets.std(), dtype=torch.float32)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 2))
    scales = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.Adam([*model.parameters(), scales], lr=0.002)
    for _ in range(15):
        for rows in torch.randperm(len(inputs)).split(64):
            first, second = model(inputs[rows]).unbind(-1)
            tasks = mse_loss(first, targets[rows]), l1_loss(second, targets[rows] + inputs[rows, 0])
            one, other = (torch.exp(-scales[k]) * task + scales[k] for k, task in enumerate(tasks))
            loss = one + other
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
