"""Learning rates that a program multiplies by hand in its loop over batches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.reading import words

if TYPE_CHECKING:
    from torchdx.source.file import SourceFile
    from torchdx.source.loops import Round
    from torchdx.source.program import Program

STEPPING = words("add_ sub_ add sub")
"""Methods of tensors that weights are moved by, with `alpha` as the rate."""


def decays_each_batch(program: Program) -> Iterator[tuple[SourceFile, ast.stmt, float]]:
    """Every statement that multiplies a rate by a number, once for every batch, and that number.

    A batch's loop is one that runs backward itself and stands in another; without that it may be all there is.
    """
    for loop in (*program.training_loops, *program.stepless_loops):
        file, node = loop.file, loop.node
        if not isinstance(node, ast.For | ast.While) or not _runs_backward(loop):
            continue
        if next(file.loops_around(node), None) is None:
            continue
        for statement in node.body:
            inner = statement.body if isinstance(statement, ast.For) else [statement]  # for group in param_groups
            for one in inner:
                factor = _factor(file, one)
                if factor is not None:
                    yield file, one, factor


def _runs_backward(loop: Round) -> bool:
    return any(event.effect == "backward" for event in loop.directly)


def _factor(file: SourceFile, statement: ast.stmt) -> float | None:
    """By what a rate is multiplied here: `lr *= 0.9`, `lr = 0.9 * lr`, `group["lr"] /= 2`."""
    target: ast.expr
    if isinstance(statement, ast.AugAssign):
        target, operator, given = statement.target, statement.op, statement.value
    elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.BinOp) and len(statement.targets) == 1:
        target, operator = statement.targets[0], statement.value.op
        sides = [statement.value.left, statement.value.right]
        others = [side for side in sides if ast.unparse(side) != ast.unparse(target)]
        if len(others) != 1 or (isinstance(operator, ast.Div) and others[0] is sides[0]):
            return None
        given = others[0]
    else:
        return None
    value = given.value if isinstance(given, ast.Constant) else None
    if not isinstance(value, int | float) or not value or not _is_rate(file, target):
        return None
    if isinstance(operator, ast.Mult):
        return float(value)
    return 1 / value if isinstance(operator, ast.Div) else None


def _is_rate(file: SourceFile, target: ast.expr) -> bool:
    """Is it a group's `lr`, or what weights are moved by in this file?"""
    if isinstance(target, ast.Subscript):
        return isinstance(target.slice, ast.Constant) and target.slice.value == "lr"
    name = ast.unparse(target)
    return any(_moves_weights(node, name) or _sets_rate(node, name) for node in file.index.parents)


def _moves_weights(node: ast.AST, name: str) -> bool:
    """`p.data.add_(p.grad, alpha=-lr)`, `p -= lr * p.grad`: a step along a gradient, of this length?"""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STEPPING:
        parts = [*node.args, *(keyword.value for keyword in node.keywords)]
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Sub | ast.Add):
        parts = [node.value]
    else:
        return False
    inside = [one for part in parts for one in ast.walk(part)]
    graded = any(isinstance(one, ast.Attribute) and one.attr == "grad" for one in inside)
    return graded and any(isinstance(one, ast.Name | ast.Attribute) and ast.unparse(one) == name for one in inside)


def _sets_rate(node: ast.AST, name: str) -> bool:
    """`group["lr"] = lr`?"""
    if not isinstance(node, ast.Assign) or ast.unparse(node.value) != name:
        return False
    slices = [target.slice for target in node.targets if isinstance(target, ast.Subscript)]
    return any(isinstance(one, ast.Constant) and one.value == "lr" for one in slices)
