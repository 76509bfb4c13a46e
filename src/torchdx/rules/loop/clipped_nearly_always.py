"""The gradient is clipped at nearly every step, to a small part of itself, and training crawls.

Seen as a loss that falls by little although gradients are large. Measured are the share of steps at which the norm lay
above the bound, how many times it was the bound, and what is left: the RMS of a step over that of the weights.

Hurts because clipping to norm c replaces g by c g / |g|. Meant for the rare step that would destroy the model, it is
then the size of every step: with plain SGD the weights move by lr * c at most, however large the gradient is, and the
learning rate no longer means what it says.

Helped by a bound near the 90th percentile of the norms seen, by what makes the gradients large (inputs of another
scale, a loss that is summed up), or by a learning rate that is larger by as much as the norm is over the bound.

No fault when the loss falls well, as with normalised gradients and a large rate, or early in training; with Adam and
its like, which divide by the gradient's own size, a constant factor hardly matters.

Sources: R. Pascanu et al., arXiv 1211.5063; V. Godbole et al., "Deep Learning Tuning Playbook" (if more than half of
the updates are clipped, lower the learning rate or look for the cause).
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Clip, Movement, Record

code, family, severity = "TDX909", "loop", "warning"
needs = frozenset({"step", "gradients"})
explains = frozenset({"not-learning", "learning-rate-too-low", "parameter-unchanged", "one-class-predictions"})

ALWAYS = 0.9
"""Share of the steps whose gradient is clipped; the Tuning Playbook asks at 0.5, where healthy ones are."""
SEVERELY = 10.0
"""Times the bound that the median norm is: 38 to 2,400 in four runs that crawled, 0.4 to 5 in healthy ones, and 48 in
one with a rate to match, which SMALL and LEARNT tell apart."""
SMALL = 1e-3
"""Median step over weight that is left: 8e-5 to 3e-4 in those that crawled; healthy medians are 0.006 and more (18
programs)."""
LEARNT = 0.5
"""Share of the loss learnt away below which training crawls; healthy classifiers end above 0.9."""
STEPS = 30
"""Optimizer steps before which nothing can have been learnt: the examination's own bound."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every optimizer of plain steps whose gradients are cut down to a small part, in a run that got nowhere far."""
    for movement in record.movements:
        clips = _clips(record, movement)
        severe = clips and _share(clips) > ALWAYS and _times(clips) > SEVERELY and movement.ratio.median < SMALL
        if severe and record.steps >= STEPS and record.progress.finite and record.progress.gain < LEARNT:
            places = record.process.all("clipping")
            norms = sorted(clip.norm for clip in clips)
            aim = norms[int(0.9 * (len(norms) - 1))]
            yield Finding(
                message=f"{_share(clips):.0%} of the steps are clipped, from a norm of {median(norms):.3g} (median) to "
                f"{clips[-1].bound:g}, so that a step changes the weights by {movement.ratio.median:.1e} of their "
                f"size; after {record.steps} steps the loss is {record.progress.last:.3g}, having begun at "
                f"{record.progress.first:.3g}",
                site=site_of(places[0]["site"]) if len(places) == 1 else movement.optimizer.site,
                evidence={
                    "bound": clips[-1].bound,
                    "proposed bound": float(f"{aim:.2g}"),
                    "norm": norms if len(norms) <= 50 else norms[:: len(norms) // 50],
                    "step over weight, median": movement.ratio.median,
                },
                cure=f"clip to about {aim:.2g}, the 90th percentile of the norms, or look for what makes them so large",
                confidence=0.85,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for movement in record.movements:
        clips = _clips(record, movement)
        if clips:
            yield "ALWAYS", _share(clips)
            yield "SEVERELY", _times(clips)
            yield "SMALL", movement.ratio.median
            yield "LEARNT", record.progress.gain


def _clips(record: Record, movement: Movement) -> list[Clip]:
    if movement.optimizer.is_scale_free:
        return []
    own = [clip for clip in record.clips if clip.optimizer == movement.optimizer.id and clip.scale == 1]
    return [clip for clip in own if clip.norm == clip.norm]


def _share(clips: list[Clip]) -> float:
    return sum(clip.times > 1 for clip in clips) / len(clips)


def _times(clips: list[Clip]) -> float:
    return median(clip.times for clip in clips)


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
