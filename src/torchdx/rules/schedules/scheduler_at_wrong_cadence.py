"""A scheduler that counts epochs is stepped every batch, or one that counts batches is stepped every epoch.

Seen as a learning rate that has fallen to nothing within the first epoch, that swings up and down many times, or that
hardly ever leaves its warm-up.

Hurts because a schedule knows only how often `step()` was called. StepLR(step_size=30, gamma=0.1) stepped per batch is
at 1e-10 of its rate after 300 batches; CosineAnnealingLR(T_max=epochs) stepped per batch goes down and up again every
2 * epochs batches; OneCycleLR made for epochs * len(loader) steps and stepped per epoch ends training in its warm-up.
A rate that a program multiplies by hand, `lr *= 0.9`, vanishes as fast in the loop over batches.

Helped by stepping where the numbers say: after each batch for numbers of batches, after each epoch for epochs.

No fault when the step stands under a condition that counts, when the numbers are in the same unit as the calls, or when
too little is written down to tell.

Sources: PyTorch documentation, `torch.optim.lr_scheduler.OneCycleLR` ("should be called after a batch"), `StepLR`,
`CosineAnnealingLR`, `ReduceLROnPlateau`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from torchdx.finding import Finding, Fix, Severity
from torchdx.source import Call, EpochLoop, Expression, Program, TrainingLoop, edits
from torchdx.source.decays import decays_each_batch
from torchdx.source.loops import epochs_around
from torchdx.source.phases import loaders_of
from torchdx.source.values import SCHEDULERS, Group, Instance, Result, Value, literal

if TYPE_CHECKING:
    from torchdx.record import Record, Schedule
    from torchdx.source import Event

code, family, severity = "TDX703", "schedules", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "learning-rate-too-low", "schedule-of-other-length"})

BATCHES, VANISHED = 1000, 1e-6
"""A rate that is below a millionth after a thousand batches was not meant to be stepped by batches."""
PATIENT = 50
"""A plateau waited for this many batches or fewer is the noise between batches."""
LENGTHS = {"OneCycleLR": ((4, "steps_per_epoch"), (2, "total_steps")), "CosineAnnealingLR": ((1, "T_max"),)}
LENGTHS |= {"LinearLR": ((3, "total_iters"),), "PolynomialLR": ((1, "total_iters"),)}
"""Where a scheduler is told how many calls its course takes."""
SELDOM, OFTEN = 3.0, 3.0
"""Optimizer steps a call, or calls over the planned ones, from which two units can be told apart."""
SAME = 0.05
"""How far the planned length may be from the number of steps taken: len(loader) * epochs is it exactly, and rounding
of accumulated or dropped batches is below this."""
FADING = frozenset({"StepLR", "MultiStepLR", "ExponentialLR", "ReduceLROnPlateau"})
DEAD, EARLY = 2e-3, 0.25
"""A rate below this share of its highest before this share of the training is over, and ever after. Sick runs were
there after 0.07 to 0.17 of it (5 digits programs), healthy ones, which do not end so low, after 0.78 or more (8)."""
LEARNT = 0.9
"""Share of the loss learnt away from which an early end of the rate did no harm; healthy classifiers end above it."""

AnyLoop: TypeAlias = TrainingLoop | EpochLoop
Judged: TypeAlias = tuple[str, Severity]
Counted: TypeAlias = tuple[str, Judged]


@dataclass(frozen=True)
class Mismatch:
    """A step of a scheduler, why it comes too often (`each` batch) or too seldom, and how sure that is."""

    loop: AnyLoop
    call: Call
    made: Call
    each: str
    judged: Judged


def in_source(program: Program) -> Iterator[Finding]:
    """Every step of a scheduler in another rhythm than its numbers."""
    for found in _mismatches(program):
        why, severe = found.judged
        yield Finding(
            message=f"`{found.call.text}` is called for every {found.each}, but {why}",
            site=found.call.site,
            evidence={"made_at": str(found.made.site)},
            cure=f"step the scheduler once per {'epoch' if found.each == 'batch' else 'batch'}",
            confidence=0.95 if severe == "error" else 0.88,
            severity=None if severe == severity else severe,
        )
    for file, statement, factor in decays_each_batch(program):
        if 0 < factor**BATCHES < VANISHED:
            yield Finding(
                message=f"`{file.text_of(statement)[:50]}` stands in the loop over batches: of the rate at first, "
                f"{factor**100:.1g} is left after 100 of them",
                site=file.site(statement),
                evidence={"factor": factor},
                cure="let the rate fall once per epoch, or by a factor that is meant for batches",
                confidence=0.88,
                severity="warning",
            )


def in_run(record: Record) -> Iterator[Finding]:
    """Every scheduler whose course has the length of another unit than its calls, as they were counted."""
    for schedule in record.schedules:
        seen = _counted_batches(schedule) or _counted_epochs(schedule)
        if seen is None and not record.progress.gain > LEARNT:
            seen = _died_early(schedule)
        if seen is not None:
            each, (why, severe) = seen
            yield Finding(
                message=f"{schedule.cls} was stepped {schedule.calls} times, once for every {each}, but {why}",
                site=schedule.site,
                evidence={
                    "made_at": str(schedule.made_at),
                    "calls of step()": schedule.calls,
                    "optimizer steps": round(schedule.length),
                    "learning rate": list(schedule.rate.thinned(50).values),
                },
                cure=f"step the scheduler once per {'epoch' if each == 'batch' else 'batch'}",
                confidence=0.95 if severe == "error" else 0.85,
                severity=None if severe == severity else severe,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for schedule in record.schedules:
        yield "SELDOM", schedule.steps_a_call
        if schedule.planned:
            if schedule.length > 0:
                yield "SAME", abs(schedule.planned / schedule.length - 1)
            yield "OFTEN", schedule.calls / schedule.planned
        if schedule.cls in FADING:
            yield "EARLY", schedule.falls_below(DEAD)
    if record.schedules:
        yield "LEARNT", record.progress.gain


def _counted_batches(schedule: Schedule) -> Counted | None:
    """Is its course as long as all the optimizer's steps, though it was stepped only now and then?"""
    planned, length = schedule.planned, schedule.length
    if not planned or schedule.cls == "StepLR" or schedule.calls < 2 or schedule.steps_a_call < SELDOM:
        return None
    if abs(planned / length - 1) > SAME:
        return None
    why = f"its course is {planned} calls long, as many as the optimizer took steps"
    why += f": it got through {schedule.calls / planned:.1%} of it"
    return "epoch", (why, "error" if schedule.cls == "OneCycleLR" else "warning")


def _counted_epochs(schedule: Schedule) -> Counted | None:
    """Is its course as long as there were epochs, though it was stepped for every batch?"""
    planned, epochs = schedule.planned, schedule.epochs
    if not planned or not epochs or schedule.steps_a_call > 1.5 or schedule.calls < OFTEN * planned:
        return None
    if round(epochs) != planned or planned < 2 or schedule.cls == "OneCycleLR":
        return None
    if schedule.cls == "CosineAnnealingLR":
        waves = schedule.calls / planned / 2
        return "batch", (f"T_max is {planned}, the number of epochs: the rate fell and rose {waves:.0f} times", "error")
    if schedule.cls in ("LinearLR", "PolynomialLR") and schedule.left.last < 0.5:
        return "batch", (f"its course is {planned} calls long, as many as there were epochs", "warning")
    return None


def _died_early(schedule: Schedule) -> Counted | None:
    """Was the rate gone within the first part of training, stepped for every batch of several a pass?"""
    epochs, milestones = schedule.epochs, schedule.options.get("milestones")
    stepped = schedule.cls in FADING and schedule.steps_a_call <= 1.5 and epochs and schedule.length > SELDOM * epochs
    ended = schedule.falls_below(DEAD)
    if stepped and epochs and milestones and SELDOM < milestones[-1] <= epochs:
        return "batch", (f"its milestones, {milestones}, count epochs, of which there were {epochs:.0f}", "warning")
    if not stepped or ended > EARLY:
        return None
    return "batch", (
        f"after {ended:.1%} of the training its rate was below {DEAD:g} of its highest, where it stayed",
        "warning",
    )


def _mismatches(program: Program) -> Iterator[Mismatch]:
    told: set[ast.AST] = set()
    loops: tuple[AnyLoop, ...] = (*program.training_loops, *program.epoch_loops)
    for loop in loops:
        texts = [_receiver(event) for event in loop.all("schedule")]
        for event in loop.directly if texts else ():
            made = _making(event.call) if event.effect == "schedule" and event.call is not None else None
            alone = texts.count(_receiver(event)) == 1 and not loop.is_conditional(event)
            if made is None or event.call is None or event.node in told or not alone:
                continue
            by_batch = isinstance(loop, TrainingLoop)
            judged = _too_often(program, loop, made) if isinstance(loop, TrainingLoop) else _too_seldom(made)
            if judged is not None:
                told.add(event.node)
                yield Mismatch(loop, event.call, made, "batch" if by_batch else "epoch", judged)


def _receiver(event: Event) -> str:
    return event.call.receiver.text if event.call is not None and event.call.receiver is not None else ""


def _making(step: Call) -> Call | None:
    """The call that made the scheduler, if it is certainly that one of torch's."""
    made = step.receiver.value if step.receiver is not None else None
    return made.call if isinstance(made, Instance) and made.dotted.startswith(SCHEDULERS) else None


def _too_often(program: Program, loop: TrainingLoop, made: Call) -> Judged | None:
    """Why a scheduler that is stepped by batches counts epochs."""
    epochs = epochs_around(program, loop)
    drawn = loop.node.iter if isinstance(loop.node, ast.For) else None
    if epochs is None or drawn is None or next(loaders_of(program.evaluate(loop.file, drawn)), None) is None:
        return None
    return _epochs_counted(made, epochs)


def _epochs_counted(made: Call, epochs: Expression) -> Judged | None:
    kind = made.name.rpartition(".")[2]
    if kind == "CosineAnnealingLR":
        period = made.argument(1, "T_max")
        if period is not None and _same(period, epochs):
            return f"T_max={period.text} counts epochs: the rate falls and rises again all the time", "error"
    if kind in ("StepLR", "ExponentialLR"):
        size = _number(made, 1, "step_size", None) if kind == "StepLR" else 1.0
        gamma = _number(made, 2, "gamma", 0.1) if kind == "StepLR" else _number(made, 1, "gamma", None)
        if size and size >= 1 and gamma and 0 < gamma < 1 and (left := gamma ** (BATCHES // size)) < VANISHED:
            return f"after {BATCHES} calls {kind} has left {left:.0e} of the rate", "warning"
    if kind == "MultiStepLR":
        last, total = _last_of(made.argument_value(1, "milestones")), epochs.literal
        if last is not None and isinstance(total, int) and 10 <= last <= total:
            return f"its milestones count epochs: the last is passed after {last:g} batches", "warning"
    if kind == "ReduceLROnPlateau":
        patience = _number(made, 3, "patience", 10.0)
        if patience is not None and patience <= PATIENT:
            return f"a patience of {patience:g} counts epochs: the noise of batches lowers the rate", "warning"
    return None


def _too_seldom(made: Call) -> Judged | None:
    """Why a scheduler that is stepped by epochs counts batches."""
    kind = made.name.rpartition(".")[2]
    for place, keyword in LENGTHS.get(kind, ()):
        given = made.argument(place, keyword)
        if given is not None and _counts_batches(given):
            whole = kind == "OneCycleLR" or isinstance(given.node, ast.BinOp)
            return f"{keyword}={given.text} counts batches: {kind} never gets far", "error" if whole else "warning"
    return None


def _counts_batches(given: Expression) -> bool:
    """Is it the length of a loader, or a product with one?"""
    value = given.value
    if isinstance(value, Result) and value.dotted == "len":
        return next(loaders_of(value.input), None) is not None
    node = given.node
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return any(_counts_batches(given.at(side)) for side in (node.left, node.right))
    whole = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "int" and node.args
    return isinstance(node, ast.Call) and bool(whole) and _counts_batches(given.at(node.args[0]))


def _same(one: Expression, other: Expression) -> bool:
    """The same number, or the same variable?"""
    if one.literal is not None or other.literal is not None:
        return one.literal == other.literal
    return one.text == other.text and isinstance(one.node, ast.Attribute | ast.Name) and one.file is other.file


def _number(made: Call, place: int, keyword: str, default: float | None) -> float | None:
    given = made.argument(place, keyword)
    value = given.literal if given is not None else default
    return float(value) if isinstance(value, int | float) else None


def _last_of(milestones: Value) -> float | None:
    items = [literal(item) for item in milestones.items] if isinstance(milestones, Group) else []
    numbers = [float(item) for item in items if isinstance(item, int | float)]
    return max(numbers) if numbers and len(numbers) == len(items) else None


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Step once an epoch, after the loop over batches; or once a batch, after the optimizer's step."""
    for found in _mismatches(program):
        file, statement = found.call.file, found.call.file.statement(found.call.node)
        if found.call.site != finding.site or statement is None or not found.call.is_statement:
            continue
        anchor: ast.stmt | None = None
        if found.each == "batch":
            outer = file.parent(found.loop.node)
            inside = isinstance(outer, ast.For | ast.While) and file is found.loop.file
            anchor = found.loop.node if inside else None
        else:
            steps = [event.call for event in found.loop.all("step")]
            if len(steps) == 1 and steps[0] is not None and steps[0].function is found.call.function:
                anchor = file.statement(steps[0].node)
        if anchor is None or found.call.node.args:
            return
        changes = [edits.delete_statement(file, statement), edits.insert_after(file, anchor, found.call.text)]
        fix = edits.fix(finding.cure, file, changes)
        if fix is not None:
            yield fix


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    epochs = 10
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(model(images), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()  # TDX703
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    epochs = 10
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(model(images), labels)
            loss.backward()
            optimizer.step()
        scheduler.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    epochs = 10
    total = epochs * len(loader)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=total)
    fading = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)
    for _ in range(epochs):
        for count, (images, labels) in enumerate(loader):
            optimizer.zero_grad()
            loss = loss_of(model(images), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            if count == len(loader) - 1:
                fading.step()
    print(f"{loss.item():.3f}")
