"""Gradients pile up from step to step because nothing clears them.

Seen as a gradient norm that keeps growing and a loss that falls at first, then swings or diverges; with Adam, as
learning that is merely slow and poor.

Hurts because `backward()` *adds* to `.grad`. Without clearing, step t follows g_1 + g_2 + ... + g_t, the sum of all
gradients so far, most of which were taken at weights that are long gone: a momentum of exactly 1, which never
forgets.

Helped by `optimizer.zero_grad()` once a round, before `backward()` or after `step()`.

No fault when rounds are added up on purpose and the gradients cleared after each step, when a helper, the closure of
LBFGS or `p.grad = None` clears them, or when the optimizer is made afresh in each round.

Sources: PyTorch documentation, `torch.optim.Optimizer.zero_grad`; A. Karpathy, "A Recipe for Training Neural
Networks" (2019).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import Series
from torchdx.source import Call, edits, optimizer_of
from torchdx.source.effects import MOST_EVENTS
from torchdx.source.models import Model
from torchdx.source.phases import all_owners
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.record import Optimizer, Record
    from torchdx.source import Event, Expression, Program, TrainingLoop
    from torchdx.source.values import Value

code, family, severity = "TDX901", "loop", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {"not-learning", "non-finite", "diverged", "exploding-gradient", "learning-rate-too-high", "nonfinite-value"}
)

JUDGED, SHARE = 10, 0.95
"""Steps of which it could be told, and the share of them that began on the gradients of the step before. It is an exact
fact of each step: in 19 healthy programs the share is 0; clearing once an epoch of 57 batches leaves it at 0.98."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every loop that computes gradients and steps, and nowhere clears what that optimizer holds."""
    for loop in program.training_loops:
        if loop.does("opaque") or len(loop.events) >= MOST_EVENTS:
            continue
        steps = [event for event in loop.all("step") if event.home is loop.node and event.call is not None]
        if not steps or not all(_is_known(loop, event) for event in steps) or not _has_own_gradients(loop):
            continue
        clearings = loop.all("zero_grad")
        left = [step.call for step in steps if step.call and not any(_may_clear(c, step.call) for c in clearings)]
        told = set()
        for call in left if clearings else left[:1]:
            name = optimizer_of(call).text
            if name in told:
                continue
            told.add(name)
            outside = _cleared_around(program, loop, call)
            whose = f"those of {name}" if clearings else "the gradients"
            yield Finding(
                message=f"this loop runs backward() and {call.text} in every round and never clears {whose}, "
                "so each step follows the sum of all gradients so far",
                site=call.site,
                cure=f"call `{name}.zero_grad()` once a round",
                confidence=0.8 if outside else 0.97,
                severity="warning" if outside else None,
            )


def in_run(record: Record) -> Iterator[Finding]:
    """Every optimizer whose gradients were still those of its step before when the next backward pass began."""
    for optimizer in record.optimizers:
        told = _told(record, optimizer)
        left = told.count(False)
        looks = (look for look in record.process.all("gradients") if look.get("optimizer") == optimizer.id)
        norm = Series.of((look["step"], look.get("norm")) for look in looks).finite
        if norm.highest == 0:  # cleared too early: what is left of the step before are zeros
            continue
        if len(told) >= JUDGED and left >= SHARE * len(told):
            yield Finding(
                message=f"at {left} of the {len(told)} steps of {optimizer.cls} that were followed, the gradients of "
                f"the step before were still there, so each step followed their sum; the norm went from "
                f"{norm.first:.3g} to {norm.last:.3g}",
                site=optimizer.site,
                evidence={"steps": len(told), "not cleared": left, "gradient norm": list(norm.thinned(50).values)},
                cure="call `zero_grad()` once a round",
                confidence=0.98,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    told = [t for optimizer in record.optimizers if len(t := _told(record, optimizer)) >= JUDGED]
    if told:
        yield "SHARE", max(cleared.count(False) / len(cleared) for cleared in told)


def _told(record: Record, optimizer: Optimizer) -> list[bool]:
    """For each step of an optimizer of which it could be told: were the gradients of the step before cleared?"""
    told = (fact.get("cleared") for fact in record.process.all("step") if fact.get("optimizer") == optimizer.id)
    return [cleared for cleared in told if cleared is not None]


def _is_known(loop: TrainingLoop, event: Event) -> bool:
    """Is it certainly a step of an optimizer of torch's, older than this round, and not given a closure?"""
    call = event.call
    if call is None or call.receiver is None or event.effect != "step":
        return False
    optimizer = optimizer_of(call)
    if call.node.args and optimizer is call.receiver:
        return False
    made = optimizer.value.alternatives()
    return all(
        isinstance(value, Instance)
        and value.is_optimizer
        and value.definition is None
        and value.call is not None
        and loop.node not in value.call.file.ancestors(value.call.node)
        for value in made
    )


def _has_own_gradients(loop: TrainingLoop) -> bool:
    return all(event.certain for event in loop.all("backward"))


def _cleared_around(program: Program, loop: TrainingLoop, step: Call) -> bool:
    """Does a loop around this one clear? Then only the rounds between are summed up."""
    file = loop.file
    scope = file.scope_of(loop.node).node
    return any(
        event.effect == "zero_grad" and _may_clear(event, step)
        for outer in file.loops_around(loop.node)
        for event in program.effects.within(file, scope, outer)
    )


def _may_clear(clearing: Event, step: Call) -> bool:
    """Unless what is cleared certainly is, holds and is held by nothing that the optimizer steps: could it be that?"""
    receiver = clearing.call.receiver if clearing.call is not None else None
    cleared = _modules(receiver.value) if receiver is not None and not _is_looped_over(receiver) else None
    stepped = _modules(optimizer_of(step).value)
    if cleared is None or stepped is None:
        return True
    return bool(_made(cleared) & _made(stepped, within=True) or _made(stepped) & _made(cleared, within=True))


def _is_looped_over(name: Expression) -> bool:
    """Does it stand for each thing in a list, of which perhaps not all are known?"""
    root = name.text.partition(".")[0]
    targets = [loop.target for loop in name.file.loops_around(name.node) if not isinstance(loop, ast.While)]
    return any(isinstance(n, ast.Name) and n.id == root for target in targets for n in ast.walk(target))


def _modules(value: Value) -> list[Instance] | None:
    """The modules that an optimizer certainly holds, or that something itself is; None where one is not known."""
    if not isinstance(value, Instance) or value.call is None:
        return None
    return all_owners(value.call.argument_value(0, "params")) if value.is_optimizer else [value]


def _made(modules: list[Instance], within: bool = False) -> set[ast.AST]:
    """The calls that made modules and, if asked for, everything inside them."""
    inside = [inner for module in modules for inner in Model(module).everything()] if within else []
    return {module.call.node for module in (*modules, *inside) if module.call is not None}


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Clear right after the step."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call):
        return
    statement = file.statement(node)
    if statement is not None:
        line = f"{optimizer_of(Call(program, file, node)).text}.zero_grad()"
        found = edits.fix("clear the gradients after each step", file, [edits.insert_after(file, statement, line)])
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
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        order = torch.randperm(len(inputs))
        for rows in order.split(64):
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()  # TDX901
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
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        order = torch.randperm(len(inputs))
        for rows in order.split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    def reset_grad(model: nn.Module) -> None:
        for parameter in model.parameters():
            parameter.grad = None

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        order = torch.randperm(len(inputs))
        for count, rows in enumerate(order.split(32), start=1):
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows]) / 2
            loss.backward()
            if count % 2 == 0:
                optimizer.step()
                reset_grad(model)
    print(f"{loss.item():.3f}")
