"""Rules about the training loop."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchdx.source import Event, Expression


def rounds_between(step: Event) -> Expression | None:
    """The N of the condition `i % N == 0` that a step stands under, be it that or the last round."""
    guard = next(step.call.guards(), None) if step.call is not None else None
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
