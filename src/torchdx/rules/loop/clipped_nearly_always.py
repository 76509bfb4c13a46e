"""The gradient is clipped at nearly every step, to a small part of itself, and training crawls.

Seen as a loss that falls by little although gradients are large. Measured are the share of steps at which the norm lay
above the bound, how many times it was the bound, and what is left: the RMS of a step over that of the weights.

Hurts because clipping to norm c replaces g by c g / |g|. Meant for the rare step that would destroy the model, it is
then the size of every step: with plain SGD the weights move by lr * c at most, however large the gradient is, and the
learning rate no longer means what it says.

Helped by a bound near the 90th percentile of the norms seen, by what makes the gradients large (inputs of another
scale, a loss that is summed up), or by a learning rate that is larger by as much as the norm is over the bound.

So where gradients are cut down in another way, element by element or by hand: what is left of them at the step is
measured beside what the backward pass gave.

No fault when the loss falls well, as with normalised gradients and a large rate, or early in training; with Adam and
its like, which divide by the gradient's own size, a constant factor hardly matters, unless little but eps is left.

Sources: R. Pascanu et al., arXiv 1211.5063; V. Godbole et al., "Deep Learning Tuning Playbook" (if more than half of
the updates are clipped, lower the learning rate or look for the cause).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Clip, Optimizer, Record

code, family, severity = "TDX909", "loop", "warning"
needs = frozenset({"step", "gradients"})
explains = frozenset({"not-learning", "learning-rate-too-low", "parameter-unchanged", "one-class-predictions"})

ALWAYS = 0.9
"""Share of the steps whose gradient is clipped; the Tuning Playbook asks at 0.5, where healthy ones are."""
SEVERELY = 10.0
"""Times the bound that the median norm is: 38 to 2,400 in four runs that crawled, 0.4 to 5 in healthy ones, and 48 in
one with a rate to match, which SMALL and LEARNT tell apart."""
SMALL = 2e-3
"""Median step over weight that is left: 8e-5 to 0.001 in those that crawled; healthy medians are 0.006 and more (18
programs)."""
LEARNT = 0.5
"""Share of the loss learnt away below which training crawls; healthy classifiers end above 0.9."""
LOOKS = 5
"""Looks at which gradients were seen both right after the backward pass and at the step, where no norm is known."""
STEPS = 30
"""Optimizer steps before which nothing can have been learnt: the examination's own bound."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every optimizer of plain steps whose gradients are cut down to a small part, in a run that got nowhere far."""
    for optimizer in record.optimizers:
        cuts, ratio = _cuts(record, optimizer), _ratio(record, optimizer)
        severe = cuts and _share(cuts) > ALWAYS and median(cuts) > SEVERELY and record.steps >= STEPS
        crawls = ratio < SMALL and record.progress.gain < LEARNT
        if not (severe and record.progress.finite and (crawls or _is_bound_below_eps(record, optimizer))):
            continue
        places, clips = record.process.all("clipping"), _clips(record, optimizer)
        told = f"after {record.steps} steps the loss is {record.progress.last:.3g}, having begun at "
        told = f"a step changes the weights by {ratio:.1e} of their size; {told}{record.progress.first:.3g}"
        site = site_of(places[0]["site"]) if len(places) == 1 else optimizer.site
        if not clips:
            yield Finding(
                message=f"between backward() and the step, gradients are made {median(cuts):.2g} times smaller "
                f"(median), so that {told}",
                site=site,
                evidence={"times smaller": cuts[:50], "step over weight, median": ratio},
                cure="clip to a norm, or a value, that most gradients stay below, or look for what makes them so large",
                confidence=0.85,
            )
            continue
        norms = sorted(clip.norm for clip in clips)
        aim = norms[int(0.9 * (len(norms) - 1))]
        yield Finding(
            message=f"{_share(cuts):.0%} of the steps are clipped, from a norm of {median(norms):.3g} (median) to "
            f"{clips[-1].bound:g}, so that {told}",
            site=site,
            evidence={
                "bound": clips[-1].bound,
                "proposed bound": float(f"{aim:.2g}"),
                "norm": norms if len(norms) <= 50 else norms[:: len(norms) // 50],
                "step over weight, median": ratio,
            },
            cure=f"clip to about {aim:.2g}, the 90th percentile of the norms, or look for what makes them so large",
            confidence=0.85,
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for optimizer in record.optimizers:
        cuts = _cuts(record, optimizer)
        if cuts:
            yield "ALWAYS", _share(cuts)
            yield "SEVERELY", median(cuts)
            yield "SMALL", _ratio(record, optimizer)
            yield "LEARNT", record.progress.gain


def _clips(record: Record, optimizer: Optimizer) -> list[Clip]:
    """The steps whose gradients were clipped by their norm."""
    own = [clip for clip in record.clips if clip.optimizer == optimizer.id and clip.scale == 1]
    return [clip for clip in own if clip.norm == clip.norm]


def _cuts(record: Record, optimizer: Optimizer) -> list[float]:
    """How many times smaller the gradients were made: before each step by a norm, or, at looks, in whatever way."""
    if optimizer.is_scale_free and not _is_below_eps(record, optimizer):
        return []
    clips = _clips(record, optimizer)
    if clips or record.process.all("scaler") or any(clip.scale != 1 for clip in record.clips):
        return [clip.times for clip in clips]
    looks = [look for look in record.process.all("gradients") if look.get("optimizer") == optimizer.id]
    cuts = [1 / max(look["left"], 1e-30) for look in looks if look.get("left") is not None]
    return cuts if len(cuts) >= LOOKS else []


def _is_bound_below_eps(record: Record, optimizer: Optimizer) -> bool:
    """May no gradient's element be as large as what its size is raised by? However far that gets, it is no clipping."""
    bounds = [fact["bound"] for fact in record.process.all("clipping")]
    eps = float(optimizer.option("eps") or 0.0) if optimizer.is_scale_free else 0.0
    return bool(bounds) and 0 < max(bounds) < eps


def _is_below_eps(record: Record, optimizer: Optimizer) -> bool:
    """Are most gradients smaller than what is added to their size before a step is divided by it?"""
    sizes = [p.gradient.median for p in record.parameters if p.id in optimizer.parameter_ids and p.gradient]
    return bool(sizes) and median(sizes) < float(optimizer.option("eps") or 0.0)


def _ratio(record: Record, optimizer: Optimizer) -> float:
    """Step over weight, the median over all matrices, and embeddings where there is nothing else."""
    movement = next((one for one in record.movements if one.optimizer.id == optimizer.id), None)
    if movement is not None:
        return movement.ratio.median
    tables = [p for p in record.parameters if p.id in optimizer.parameter_ids and len(p.shape) > 1 and p.update_ratio]
    return median(p.update_ratio.median for p in tables) if tables else math.inf


def _share(cuts: list[float]) -> float:
    return sum(times > 1 for times in cuts) / len(cuts)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)  # TDX909
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    for kind in (torch.optim.SGD, torch.optim.Adam):
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = kind(model.parameters(), lr=10.0 if kind is torch.optim.SGD else 0.003)
        for _ in range(8):
            for rows in torch.randperm(len(inputs)).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.01)
                optimizer.step()
        print(f"{loss.item():.3f}")
