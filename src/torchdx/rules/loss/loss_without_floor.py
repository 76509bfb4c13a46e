"""What is minimised has no lowest value, as a sign in it is wrong: it falls for ever, whatever the errors are.

Seen as a loss that goes far below zero and on and on, while whatever is measured beside it gets worse; as a predicted
variance that goes to zero, or a task's weight that runs away. Found in the autograd graph: of a sum of log(u) and of
errors times a power of u, as a Gaussian likelihood (with u the variance) and learned task weights are, both terms pull
in one direction; or a loss function's value, which cannot be below zero, enters with a minus alone.

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
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import LossUse, Record

code, family, severity = "TDX623", "loss", "error"
needs = frozenset({"step"})
explains = frozenset(
    {
        "not-learning",
        "diverged",
        "non-finite",
        "nonfinite-value",
        "exploding-gradient",
        "learning-rate-too-high",
        "validation-gap",
        "overfitting",
        "train-eval-gap",
        "saturated-activation",
        "dead-relu",
    }
)

LOOKS = 3
"""Times that the sum was gone through, or a loss seen beside the objective: an exact fact of each."""

BOUNDED = (
    *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "cross_entropy", "nll_loss"),
    *("binary_cross_entropy", "binary_cross_entropy_with_logits"),
)
"""Losses that are never below zero, and have no highest value."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every objective that is a likelihood with a wrong sign, and the one loss function's value taken with a minus."""
    yield from _likelihoods(record)
    use = _maximised(record)
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
