"""Validation loss turns and rises while training loss goes on falling.

Seen as two curves that part: the validation loss has its lowest point long before the end, and what is learnt after
that point makes new data worse. A figure that the program works out itself counts as one where its source shows that
it is the better the smaller it is.

Hurts because a model with enough freedom goes on, once it has learnt what carries over, to fit the noise of the samples
it happens to have; its confidence in that noise is what the validation loss, -log p of the truth, punishes.

Helped by keeping the weights of the lowest validation loss (early stopping), more data or augmentation, weight decay,
dropout, a smaller model, or label smoothing where labels are noisy.

No fault when the validation loss only wobbles within its own error, or stays flat while training loss falls: the rise
must be larger than three standard errors and larger than the wobble from one evaluation to the next, unless each one
after the lowest is above the one before.

Sources: L. Prechelt, "Early Stopping - But When?" (1998); C. Bishop, "Pattern Recognition and Machine Learning" (2006),
section 1.1; C. Guo et al., "On Calibration of Modern Neural Networks" (2017).
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median, stdev
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough
from torchdx.record import site_of
from torchdx.record.scores import scored_by_hand
from torchdx.source.sense import sense

if TYPE_CHECKING:
    from torchdx.record import Phase, Record

code, family, severity = "TDX801", "generalisation", "warning"
needs = frozenset({"step"})
explains = frozenset({"validation-gap"})

ERRORS = 3.0
"""Standard errors that the rise must exceed (catalogue, row 87)."""

WOBBLES = 3.0
"""Times the usual change between evaluations that the rise must exceed: a healthy run's noise, taken for each run."""

AFTER = 3
"""Evaluations after the lowest that must all lie above it by more than its error (catalogue, row 87)."""

RISE = 0.1
"""Least rise, as a share of the lowest loss, that is worth telling: smaller ones are real but cost little."""

FALL = 0.8
"""Training loss at the end over that at the turning point, below which it went on falling: overfitted runs read 0.001
to 0.7."""

MEMORISED, STEADY, FEWER = 0.01, 10.0, 1.0
"""Training loss at the end over the lowest validation loss, below which the training samples are known by heart: then a
rise that is STEADY, so many times the wobble, need be FEWER standard errors only, as the validation samples, few as
they may be, are the same ones each time. Sick programs read 2e-10 and 0.003, 300 and 95 wobbles, 1.7 and 2 errors; of 9
healthy ones with a rise, none has a training loss below 0.06 of it, and none rises by more than 7 wobbles."""

SPREAD = 1.5
"""Deviation of one sample's change of loss over the mean loss, to guess an error where one batch was all: sqrt(2) for a
squared error of a normal variable; 1 to 2 for the cross entropies of the healthy zoo."""


@dataclass(frozen=True)
class Turn:
    """A validation loss that has a lowest point: there and at the end, with the error of their difference."""

    step: int
    lowest: float
    late: float
    error: float
    wobble: float
    phases: Sequence[Phase]

    @property
    def rise(self) -> float:
        return self.late - self.lowest


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """The evaluation whose loss rose the most, if training went on learning."""
    groups = _evaluations(record)
    if groups and max(map(len, groups.values())) <= AFTER:
        yield NotEnough(needs=f"more than {AFTER} evaluations")
    turns = [turn for phases in groups.values() if (turn := _turn(record, phases)) and _training_fell(record, turn)]
    turns = turns or [*_by_hand(record)]
    if turns:
        yield _finding(record, max(turns, key=lambda turn: turn.rise))


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    turns = [turn for phases in _evaluations(record).values() if (turn := _lowest(phases)) and turn.rise > 0]
    if turns:
        turn = max(turns, key=lambda turn: turn.rise)
        if turn.error > 0:
            yield "ERRORS", turn.rise / turn.error
        if turn.wobble > 0:
            yield "WOBBLES", turn.rise / turn.wobble
        if turn.lowest:
            yield "RISE", turn.rise / abs(turn.lowest)
        then, now = _training(record, turn)
        if then > 0 and now > 0:
            yield "FALL", now / then
        if now > 0 and turn.lowest > 0:
            yield "MEMORISED", now / turn.lowest


def _evaluations(record: Record) -> dict[object, list[Phase]]:
    """The evaluations whose loss is finite, those of one loader and place together."""
    groups: dict[object, list[Phase]] = defaultdict(list)
    for phase in record.phases("eval"):
        if phase.loss is not None and math.isfinite(phase.loss):
            groups[phase.loader, str(phase.losses[0].get("site"))].append(phase)
    return groups


def _by_hand(record: Record) -> Iterator[Turn]:
    """The same of figures that the program works out itself, where its source shows which way they are better."""
    for phases in scored_by_hand(record).values():
        site = site_of(phases[0].losses[0].get("site"))
        if site is None or not all(math.isfinite(phase.loss or 0.0) for phase in phases):
            continue
        for sign in (1, -1):
            turn = _turn(record, [replace(p, losses=(_signed(p, sign),)) for p in phases])
            if turn and turn.error > 0 and _training_fell(record, turn) and sense(site) == sign:
                yield turn


def _signed(phase: Phase, sign: int) -> dict[str, object]:
    return {**phase.losses[0], "mean": sign * (phase.loss or 0.0)}


def _turn(record: Record, phases: Sequence[Phase]) -> Turn | None:
    """The turning point, if the loss has risen from it by more than its noise."""
    turn = _lowest(phases)
    if turn is None:
        return None
    memorised = 0 < _training(record, turn)[1] < MEMORISED * turn.lowest
    sure = memorised and turn.rise > STEADY * turn.wobble
    errors, wobbles = (FEWER, STEADY) if sure else (ERRORS, WOBBLES)
    enough = max(errors * turn.error, wobbles * turn.wobble, RISE * abs(turn.lowest))
    risen = min(phase.loss or 0.0 for phase in phases[-AFTER:]) > turn.lowest + turn.error
    return turn if turn.rise > enough and risen else None


def _lowest(phases: Sequence[Phase]) -> Turn | None:
    """The evaluation with the lowest loss, beside the last ones; None if there are too few of them."""
    losses = [phase.loss or 0.0 for phase in phases]
    if len(losses) <= AFTER:
        return None
    smooth = [mean(losses[max(0, k - 1) : k + 2]) for k in range(len(losses) - AFTER)]
    turning = min(range(len(smooth)), key=smooth.__getitem__)
    rest = losses[turning + 1 :]
    late = median(rest[-max(AFTER, len(rest) // 3) :])
    error = median(_error(phases[turning], phase) for phase in phases[-AFTER:])
    steady = len(rest) > AFTER and all(a < b for a, b in itertools.pairwise(losses[turning:]))
    wobble = 0.0 if steady else median(abs(b - a) for a, b in itertools.pairwise(losses))
    return Turn(phases[turning].last_step, smooth[turning], late, error, wobble, phases)


def _error(low: Phase, late: Phase) -> float:
    """The standard error of the difference of two evaluations.

    Batch by batch where both saw the same number of batches, as they then saw the same samples; stretch by stretch of
    the batches where those were few; else from each one's own error, or guessed from the number of samples.
    """
    before, after = low.losses[0].get("each", ()), late.losses[0].get("each", ())
    pairs = list(zip(before, after, strict=False))
    if low.batches == late.batches <= len(before) == len(after) and len(pairs) > 2:
        return float(stdev(now - then for then, now in pairs)) / math.sqrt(len(pairs))
    if low.loss_error is not None and late.loss_error is not None and min(low.batches, late.batches) > 2:
        return math.hypot(low.loss_error, late.loss_error)
    return SPREAD * abs(low.loss or 0.0) / math.sqrt(low.losses[0].get("samples") or 1)


def _training_fell(record: Record, turn: Turn) -> bool:
    """Did training loss go on falling after the turning point, to below the validation loss?"""
    then, now = _training(record, turn)
    fell = now < FALL * then if then > 0 and now > 0 else then - now > turn.error
    return fell and now < turn.lowest


def _training(record: Record, turn: Turn) -> tuple[float, float]:
    """The training loss around the turning point, and at the end; NaN where there is none."""
    series = record.training_loss().finite or record.objective.finite
    before = series.between(0, turn.step).latest(AFTER)
    return before.mean, series.latest(max(AFTER, len(series) // 10)).mean


def _finding(record: Record, turn: Turn) -> Finding:
    curve = [(phase.last_step, phase.loss) for phase in turn.phases]
    training = record.training_loss().finite or record.objective.finite
    evidence = {
        "lowest validation loss": turn.lowest,
        "at step": turn.step,
        "validation loss at the end": turn.late,
        "standard error of the difference": turn.error,
        "training loss at the end": training.last,
        "steps": [step for step, _ in curve],
        "validation loss over steps": [loss for _, loss in curve],
    }
    right = [phase.accuracy for phase in turn.phases if phase.accuracy is not None]
    if right:
        evidence["best validation accuracy"] = max(right)
        evidence["last validation accuracy seen"] = right[-1]
    return Finding(
        message=f"validation loss was lowest ({turn.lowest:.3g}) at step {turn.step} and has risen to {turn.late:.3g}, "
        f"{turn.rise / turn.error:.0f} standard errors, while training loss fell on to {training.last:.3g}",
        site=site_of(turn.phases[0].losses[0].get("site")),
        evidence=evidence,
        cure=f"keep the weights of step {turn.step} (early stopping); then more data or augmentation, weight decay, "
        "dropout, or a smaller model",
        confidence=0.95,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    pictures, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    order = torch.randperm(len(labels))
    pictures, labels = pictures[order], labels[order]
    noisy = torch.where(torch.rand(200) < 0.3, torch.randint(0, 10, (200,)), labels[:200])
    training = DataLoader(TensorDataset(pictures[:200], noisy), batch_size=20, shuffle=True)
    validation = DataLoader(TensorDataset(pictures[1000:], labels[1000:]), batch_size=100)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(40):
        model.train()
        for images, wanted in training:
            optimizer.zero_grad()
            loss = loss_of(model(images), wanted)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            total = sum(loss_of(model(images), wanted).item() for images, wanted in validation)  # TDX801
        print(f"{loss.item():.3f} {total / len(validation):.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    pictures, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    order = torch.randperm(len(labels))
    pictures, labels = pictures[order], labels[order]
    training = DataLoader(TensorDataset(pictures[:1000], labels[:1000]), batch_size=50, shuffle=True)
    validation = DataLoader(TensorDataset(pictures[1000:], labels[1000:]), batch_size=100)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003, weight_decay=0.01)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(12):
        model.train()
        for images, wanted in training:
            optimizer.zero_grad()
            loss = loss_of(model(images), wanted)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            total = sum(loss_of(model(images), wanted).item() for images, wanted in validation)
        print(f"{loss.item():.3f} {total / len(validation):.3f}")
