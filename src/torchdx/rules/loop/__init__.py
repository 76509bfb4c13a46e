"""Rules about the training loop."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torchdx.record import Optimizer, Record
    from torchdx.source import Call, Event, Expression


def _ways_to(step: Event) -> Iterator[Call]:
    """A step, and the calls in its loop of the function that it stands in."""
    call, loop = step.call, step.home
    if call is None:
        return
    yield call
    if call.function is not None and not any(node is loop for node in call.file.ancestors(call.node)):
        inside = {id(node) for node in ast.walk(loop)} if loop is not None else set()
        yield from (way for way in call.program.calls_named(call.function.name) if id(way.node) in inside)


def rounds_between(step: Event) -> Expression | None:
    """The N of the condition `i % N == 0` that a step, or the call that runs it, stands under, or the last round's."""
    guard = next((first for call in _ways_to(step) if (first := next(call.guards(), None)) is not None), None)
    test = guard.node if guard is not None else None
    either = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) else [test]
    for part in either:
        left, zero = part, isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not)
        if isinstance(part, ast.Compare) and isinstance(part.ops[0], ast.Eq):
            left, zero = part.left, True
        elif isinstance(part, ast.UnaryOp):
            left = part.operand
        if guard is not None and zero and isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mod):
            return guard.at(left.right)
    return None


def lost_passes(record: Record, optimizer: Optimizer) -> list[tuple[int, int]]:
    """Of each step before which there were several passes: how many of them were in vain, and how many there were."""
    steps = [fact for fact in record.process.all("step") if fact.get("optimizer") == optimizer.id]
    return [(fact["lost"], fact["backwards"]) for fact in steps if "lost" in fact and fact["backwards"] > 1]


def zeroed_looks(record: Record, optimizer: Optimizer) -> list[int]:
    """The looks at which all that backward() gave was filled with zeros before the step; none if any was left once."""
    looks = [fact for fact in record.process.all("gradients") if fact.get("optimizer") == optimizer.id]
    told = [fact for fact in looks if fact.get("left") is not None]
    return [fact["step"] for fact in told] if not any(fact["left"] or fact["norm"] for fact in told) else []
