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
from torchdx.source import edits
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Call, Event, Program, TrainingLoop

code, family, severity = "TDX901", "loop", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {"not-learning", "non-finite", "diverged", "exploding-gradient", "learning-rate-too-high", "nonfinite-value"}
)

JUDGED, SHARE = 10, 0.95
"""Steps of which it could be told, and the share of them that began on the gradients of the step before. It is an exact
fact of each step: in 19 healthy programs the share is 0; clearing once an epoch of 57 batches leaves it at 0.98."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every loop that computes gradients and steps, and nowhere clears."""
    for loop in program.training_loops:
        if loop.does("zero_grad", "opaque"):
            continue
        steps = [event for event in loop.all("step") if event.home is loop.node and event.call is not None]
        if steps and all(_is_known(loop, event) for event in steps) and _has_own_gradients(loop):
            call = steps[0].call
            assert call is not None
            outside = _cleared_around(program, loop)
            yield Finding(
                message=f"this loop runs backward() and {call.text} in every round and never clears the gradients, "
                "so each step follows the sum of all gradients so far",
                site=call.site,
                cure=f"call `{_optimizer_text(call)}.zero_grad()` once a round",
                confidence=0.8 if outside else 0.97,
                severity="warning" if outside else None,
            )


def in_run(record: Record) -> Iterator[Finding]:
    """Every optimizer whose gradients were still those of its step before when the next backward pass began."""
    for optimizer in record.optimizers:
        told = [f["cleared"] for f in record.process.all("step") if f.get("optimizer") == optimizer.id]
        told = [cleared for cleared in told if cleared is not None]
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


def _is_known(loop: TrainingLoop, event: Event) -> bool:
    """Is it certainly a step of an optimizer of torch's, older than this round, and not given a closure?"""
    call = event.call
    if call is None or call.receiver is None or event.effect != "step":
        return False
    optimizer = call.argument(0) if "Scaler" in call.receiver.value.name else call.receiver
    if optimizer is None or (call.node.args and optimizer is call.receiver):
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


def _cleared_around(program: Program, loop: TrainingLoop) -> bool:
    """Does a loop around this one clear? Then only the rounds between are summed up."""
    file = loop.file
    scope = file.scope_of(loop.node).node
    return any(
        event.effect == "zero_grad"
        for outer in file.loops_around(loop.node)
        for event in program.effects.within(file, scope, outer)
    )


def _optimizer_text(call: Call) -> str:
    first = call.argument(0)
    return first.text if first is not None else call.receiver.text if call.receiver is not None else "optimizer"


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Clear right after the step."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call):
        return
    statement = file.statement(node)
    call = program.expression(file, node)
    if statement is not None:
        line = f"{_optimizer_text(call)}.zero_grad()"  # type: ignore[arg-type]
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
