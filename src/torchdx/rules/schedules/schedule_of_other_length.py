"""The schedule of the learning rate was planned for another number of steps than the training took.

Seen as a learning rate that is still near its top when training ends, that has long been zero, or that falls and rises
over and over. Counted are the calls of `step()` and the number of calls that the scheduler was made for.

Hurts because the gain of a schedule lies in its end: with a rate that has not come down, the loss keeps the noise of
large steps; with a rate of zero, every further step is time spent on nothing; and CosineAnnealingLR(T_max=T) has
(1 + cos(pi t / T)) / 2 of its rate after t calls, which is all of it again at t = 2 T.

Helped by telling the scheduler the number of calls there will be: epochs * len(loader) where it is stepped for every
batch (not the number of samples), epochs where it is stepped for every epoch.

So with a rate that the program sets itself: what it was is seen at every step.

No fault when training was stopped before its time (by early stopping, by hand, for a trial), when several schedulers
share one course, or when the rate is meant to be restarted (CosineAnnealingWarmRestarts, CyclicLR).

Sources: PyTorch documentation, `torch.optim.lr_scheduler.OneCycleLR`, `CosineAnnealingLR`, `PolynomialLR` (whose
`total_iters` is 5 unless told); L. N. Smith and N. Topin, arXiv 1708.07120.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record.schedules import LENGTHS, courses_of

if TYPE_CHECKING:
    from torchdx.record import Record, Schedule

code, family, severity = "TDX707", "schedules", "warning"
needs = frozenset({"step"})
explains = frozenset(
    {
        *("not-learning", "learning-rate-too-low", "vanishing-gradient", "parameter-unchanged"),
        *("one-class-predictions", "saddle-point", "stuck-at-minimum"),
    }
)

WAVES = 20.0
"""Times the rate came down or went up again: nobody plans that many for CosineAnnealingLR, which does not restart.
Healthy runs: 1, and 3 of one that does swing; stepped for every batch with T_max in epochs: 23 and more."""
IDLE = 1 / 3
"""Share of the steps taken at a rate of exactly zero. Schedules that end at zero get there with their last step
(0.05 of 16 healthy runs at most); PolynomialLR and LinearLR with too short a course: 0.92 and 0.98."""
GONE, EARLY, LEARNT = 1e-6, 1 / 3, 0.9
"""A rate below this share of its highest moves nothing; if it gets there, for good, within this share of the steps,
most of the training was for nothing. Healthy runs get there, if at all, after 0.85 of it (11 with a schedule), and one
that has learnt this share of the loss away by then lost nothing."""
SMALL, POOR = 1e-2, 0.5
"""And a rate below this share, in a run that learnt less than POOR of the loss away, or whose loss tells nothing of
what is learnt (a policy's): it was stopped in mid-course. Healthy runs get there after 0.73 of the steps (50)."""
AGAIN = 1.2
"""Times CosineAnnealingLR's course was gone through, from which the rate has gone up again: it does not restart."""
BEGUN = 0.25
"""Share of OneCycleLR's course below which it has not passed its warm-up, 0.3 of it unless told otherwise. Healthy
runs read 1; with the number of samples for that of batches, 1 over the batch size."""
RISING, LOW = 0.9, 0.25
"""Share of the steps after which the rate went on rising, and the share that it ended at of what the optimizer was made
with: it never came out of its warm-up. Healthy schedules come to 1 (19); three sick ones to 0.014 to 0.02."""
RAMP, START, STRAIGHT, FALLS = 100, 0.1, 0.03, 1.1
"""Steps at least, the first rate over the last, the furthest that a rate lies off the line between the two, over the
last, and the last loss over the lowest (a test of rates ends where the loss runs away), from which a rate was rising
all the way: no healthy program's does.
"""
HALF = 0.5
"""Share of another schedule's course below which most of the rate is left."""
HIGH = 0.85
"""Share left of a rate that the program brings down itself, at which the end planned was surely another one."""
STEPS = 30
"""Calls below which nothing can be said of a plan: a trial run."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every schedule that the run went far beyond, or ended long before, though it ended by itself."""
    unrisen = next((s for s in record.schedules if _is_unrisen(s) and _ended_by_itself(record)), None)
    for schedule in (*record.schedules, *courses_of(record)):
        if schedule is unrisen or (_is_ramp(record, schedule) and _ended_by_itself(record)):
            yield _in_warm_up(record, schedule)
            continue
        gain = record.progress.gain
        faded = None if gain > LEARNT else _faded(schedule, GONE) or (None if gain >= POOR else _faded(schedule, SMALL))
        said = _beyond(schedule) or faded or (_before(schedule) if _ended_by_itself(record) else None)
        if said is not None and schedule.alone and (schedule.calls if said is not faded else schedule.length) >= STEPS:
            why, severe = said
            yield Finding(
                message=f"{schedule.cls or 'the program itself'} {why}",
                site=schedule.made_at,
                evidence={
                    "planned calls": schedule.planned,
                    "calls of step()": schedule.calls,
                    "learning rate": list(schedule.rate.thinned(50).values),
                },
                cure="give the scheduler the number of calls of step() that there will be",
                confidence=0.9 if severe else 0.8,
                severity=None if severe else "note",
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for schedule in record.schedules:
        yield "STEPS", schedule.calls
        yield "IDLE", _idle(schedule)
        yield "EARLY", schedule.falls_below(GONE)
        share = schedule.share
        if share is not None and schedule.cls == "CosineAnnealingLR":
            yield "WAVES", share
        if share is not None and schedule.cls in ("CosineAnnealingLR", "LinearLR", "PolynomialLR", "OneCycleLR"):
            yield "BEGUN" if schedule.cls == "OneCycleLR" else "HALF", share
        if schedule.base:
            yield "LOW", _risen(schedule)


def _is_unrisen(schedule: Schedule) -> bool:
    """Was the rate, which is to reach the one that the optimizer was made with, still low and rising at the end?"""
    left, base = schedule.left, schedule.base
    if not base or not left or schedule.calls < STEPS or schedule.cls == "OneCycleLR" or _risen(schedule) > LOW:
        return False
    before = left.between(0, schedule.first_step + int(RISING * schedule.length))
    linear = schedule.cls == "LinearLR" and (schedule.share or 1.0) < BEGUN
    return left.last == 1 and left.first < 1 and (linear or (before.highest < 0.98 and left.first < 0.5))


def _is_ramp(record: Record, schedule: Schedule) -> bool:
    """Did the rate rise from nearly nothing, in a straight line, to the very last step, while the loss still fell?"""
    rate = schedule.rate.finite
    whole = schedule.base is None or rate.highest < RISING * schedule.base
    if schedule.calls < RAMP or not whole or schedule.cls in LENGTHS or not 0 <= rate.first < START * rate.last:
        return False
    slope = (rate.last - rate.first) / max(1, rate.steps[-1] - rate.steps[0])
    line = (abs(value - rate.first - slope * (step - rate.steps[0])) for step, value in rate)
    return max(line) < STRAIGHT * rate.last and record.progress.last < FALLS * record.progress.best


def _risen(schedule: Schedule) -> float:
    """The highest rate over the one that the optimizer was made with."""
    return schedule.rate.finite.highest / schedule.base if schedule.base else math.nan


def _in_warm_up(record: Record, schedule: Schedule) -> Finding:
    message = f"the learning rate was still being raised when training ended, after {schedule.calls} steps: it went "
    message += f"from {schedule.rate.first:.2g} to {schedule.rate.finite.last:.2g}, in a straight line, as in a warm-up"
    if schedule.base:
        whole = schedule.planned or round(schedule.calls / _risen(schedule))
        message = f"{schedule.cls} was still raising the learning rate when training ended, after {schedule.calls} "
        message += f"calls of step(): it had come to {_risen(schedule):.2g} of {schedule.base:g}, as in a warm-up of "
        message += f"about {whole}"
    return Finding(
        message=message,
        site=schedule.made_at,
        evidence={"calls of step()": schedule.calls, "learning rate": list(schedule.rate.thinned(50).values)},
        cure=f"warm up for a tenth of the steps or less, here {max(1, schedule.calls // 10)}",
        confidence=0.9,
        severity="note" if record.progress.gain > LEARNT else None,
    )


def _idle(schedule: Schedule) -> float:
    """The share of the steps, at the end, that were taken at a rate of zero."""
    return 1 - schedule.falls_below(1e-12) if schedule.left.last == 0 else 0.0


def _beyond(schedule: Schedule) -> tuple[str, bool] | None:
    """How a run went on after its schedule had ended, and whether that is sure to be a fault."""
    idle = _idle(schedule)
    share = schedule.share or 0.0
    if idle > IDLE:
        return f"brought the rate down to zero early: {idle:.0%} of the steps were taken at a rate of 0", True
    if schedule.cls == "CosineAnnealingLR" and share > WAVES:
        return f"has T_max={schedule.planned}, but was stepped {schedule.calls} times: its rate fell and rose " + (
            f"{share / 2:.0f} times"
        ), True
    if schedule.cls == "CosineAnnealingLR" and share > AGAIN:
        return (
            f"has T_max={schedule.planned}, but was stepped {schedule.calls} times: after T_max calls its rate goes "
            + ("up again, step by step (CosineAnnealingWarmRestarts is what restarts)"),
            False,
        )
    return None


def _faded(schedule: Schedule, share: float) -> tuple[str, bool] | None:
    """How the rate came to nothing, or to this share of its highest, long before the end."""
    ended = schedule.falls_below(share)
    if ended > EARLY:
        return None
    why = f"after {ended:.0%} of the steps the rate was below {share:g} of its highest, where it stayed"
    return f"brought the rate down to next to nothing early: {why}", True


def _before(schedule: Schedule) -> tuple[str, bool] | None:
    """How a run ended before its schedule had got far."""
    share, planned = schedule.share, schedule.planned
    if share is None or planned is None:
        return _barely_fell(schedule)
    told = f"was planned for {planned} calls of step(), but training ended after {schedule.calls}"
    if schedule.cls == "OneCycleLR" and share < BEGUN:
        return f"{told}, in its warm-up", True
    if schedule.cls in ("CosineAnnealingLR", "PolynomialLR") and share < HALF and schedule.left.last > HALF:
        return f"{told}: {schedule.left.last:.0%} of the rate was left", False
    return None


def _barely_fell(schedule: Schedule) -> tuple[str, bool] | None:
    """How a rate that falls in a straight line, or ever faster, as a cosine does, was still high at the end."""
    left = schedule.left.last if schedule.cls in ("", "LambdaLR") and schedule.falls_to_the_end else 0.0
    why = f"was bringing the rate down when training ended: {left:.0%} of the highest was left"
    return (why, left > HIGH) if left > HALF else None


def _ended_by_itself(record: Record) -> bool:
    """Did the program end in order, and not on finding that the evaluations get no better?"""
    ended = record.ended
    if not ended or ended.get("stopped") or ended.get("exception") or record.run.get("status"):
        return False
    evaluations = record.validation_loss().finite.values
    return len(evaluations) < 3 or evaluations.index(min(evaluations)) >= len(evaluations) - 2


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    data = TensorDataset(inputs, torch.tensor(digits.target))
    loader = DataLoader(data, batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, epochs=8, steps_per_epoch=len(data))  # TDX707
    for _ in range(8):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    data = TensorDataset(inputs, torch.tensor(digits.target))
    loader = DataLoader(data, batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, epochs=8, steps_per_epoch=len(loader))
    for _ in range(8):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, LinearLR, SequentialLR

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    for restarts in (True, False):
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        warmth = LinearLR(optimizer, start_factor=0.1, total_iters=10)
        fall = CosineAnnealingLR(optimizer, T_max=190)
        joined = SequentialLR(optimizer, [warmth, fall], milestones=[10])
        scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=5) if restarts else joined
        for _ in range(7):
            for rows in torch.randperm(len(inputs)).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
                scheduler.step()
        print(f"{loss.item():.3f}")
