"""The scheduler steps before the optimizer's first step, so the first learning rate of the schedule is never used.

Seen as a warning of PyTorch's ("Detected call of `lr_scheduler.step()` before `optimizer.step()`"), and a rate that
falls one epoch early, at every milestone.

Hurts because a scheduler sets its first rate when it is made, and each `step()` moves it on to the next. Called at the
top of the loop, it has moved on before anything was trained: of eta_0, eta_1, ... the first is skipped, and a warm-up
or one-cycle schedule never has its intended start.

Helped by `scheduler.step()` at the end of the loop's body, after the optimizer's steps. (Before PyTorch 1.1 it belonged
at the top.)

No fault when the epoch is passed to `step()`, when the first round is left out by a condition, or when the optimizer
has stepped before the loop.

Sources: PyTorch documentation, `torch.optim`, "How to adjust learning rate"; PyTorch 1.1.0 release notes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.source import Call, EpochLoop, Event, Program, TrainingLoop

    AnyLoop: TypeAlias = TrainingLoop | EpochLoop

code, family, severity = "TDX704", "schedules", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()


def in_source(program: Program) -> Iterator[Finding]:
    """Every scheduler that is stepped at the top of a loop, before the steps of its round."""
    for loop, call in _early(program):
        steps = next(event.call for event in loop.all("step") if event.call is not None)
        assert call.receiver is not None
        yield Finding(
            message=f"`{call.text}` comes before `{steps.text}`, so the first learning rate of "
            f"{call.receiver.value.name.rpartition('.')[2]} is skipped and every change comes one round early",
            site=call.site,
            evidence={"step_at": str(steps.site)},
            cure=f"move `{call.text}` to the end of the loop's body",
            confidence=0.93,
            severity="note" if next(loop.file.loops_around(loop.node), None) and _takes_steps(loop) else None,
        )


def _early(program: Program) -> Iterator[tuple[AnyLoop, Call]]:
    loops: tuple[AnyLoop, ...] = (*program.training_loops, *program.epoch_loops)
    for loop in loops:
        first = next((place for place, event in enumerate(loop.events) if event.effect == "step"), 0)
        scheduled = [event.call for event in loop.all("schedule") if event.call is not None]
        for event in loop.events[:first]:
            call = event.call
            if event.effect != "schedule" or event.home is not loop.node or call is None or not _is_plain(call):
                continue
            if not _in_first_round(loop, event.through or call) or not _leads_there(program, loop, event, first):
                continue
            alone = sum(_receiver(other) == _receiver(call) for other in scheduled) == 1
            if alone and all(step.certain for step in loop.all("step")) and not _stepped_before(program, loop):
                yield loop, call


def _leads_there(program: Program, loop: AnyLoop, event: Event, first: int) -> bool:
    """Where a function does both, scheduler and optimizer: does the loop call that very one, and it always do so?"""
    through, call = event.through, event.call
    if through is None or call is None:
        return through is None
    function = call.function
    if loop.events[first].through is not through or function is None:
        return False
    statement = call.file.statement(call.node)
    return program.effects.targets(through) == (function,) and statement in getattr(function.node, "body", ())


def _in_first_round(loop: AnyLoop, call: Call) -> bool:
    """Does it run whenever a round trains? A test against a word, as in `phase == "train"`, only parts the phases."""
    statement = loop.file.statement(call.node)
    above = loop.file.parent(statement) if statement is not None else None
    if isinstance(above, ast.If) and isinstance(above.test, ast.Compare) and statement in above.body:
        other = above.test.comparators[0]
        if isinstance(other, ast.Constant) and isinstance(other.value, str) and isinstance(above.test.ops[0], ast.Eq):
            statement = above
    return statement in loop.node.body


def _takes_steps(loop: AnyLoop) -> bool:
    """Is it the loop over batches? There one round more or less is little."""
    return any(event.effect == "step" for event in loop.directly)


def _receiver(call: Call) -> str:
    return call.receiver.text if call.receiver is not None else ""


def _is_plain(call: Call) -> bool:
    """Is it `scheduler.step()`, alone and without an epoch or a measure, of a scheduler of torch's?"""
    made = call.receiver.value.alternatives() if call.receiver is not None else ()
    torchs = all(isinstance(value, Instance) and value.is_scheduler and value.definition is None for value in made)
    return call.is_statement and not call.node.args and not call.node.keywords and bool(made) and torchs


def _stepped_before(program: Program, loop: AnyLoop) -> bool:
    """Has an optimizer stepped before the loop began, in the same code?"""
    scope = loop.file.scope_of(loop.node).node
    calls = [
        event.through or event.call for event in program.effects.within(loop.file, scope) if event.effect == "step"
    ]
    return any(call is None or call.node.lineno < loop.node.lineno for call in calls)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Step the scheduler at the end of the loop's body, or right after the optimizer where a function does both."""
    for loop, call in _early(program):
        file, statement = call.file, call.file.statement(call.node)
        if call.site != finding.site or statement is None:
            continue
        if statement in loop.node.body:
            last: ast.stmt | None = loop.node.body[-1]
        else:
            steps = [event.call for event in loop.all("step") if event.call is not None]
            last = file.statement(steps[-1].node) if steps and steps[-1].file is file else None
        if last is None or isinstance(last, ast.Return | ast.Break | ast.Continue | ast.Raise):
            return
        if file.parent(last) is not file.parent(statement):
            return
        changes = [edits.delete_statement(file, statement), edits.insert_after(file, last, call.text)]
        found = edits.fix("step the scheduler after the optimizer", file, changes)
        if found is not None:
            yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.3)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        scheduler.step()  # TDX704
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.3)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        print(f"{loss.item():.3f}")
        scheduler.step()


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.3)
    loss_of = nn.CrossEntropyLoss()
    for epoch in range(10):
        if epoch > 0:
            scheduler.step()
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        print(f"{loss.item():.3f}")
