"""Arithmetic on values: numbers are computed, lists joined, everything else remembered as an `Operation`."""

from __future__ import annotations

import ast

from torchdx.source.expressions import Expression
from torchdx.source.values import UNKNOWN, Group, Literal, Operation, Value, either

ARITHMETIC = {"Add": float.__add__, "Sub": float.__sub__, "Mult": float.__mul__, "Div": float.__truediv__}


def operation(
    operator: ast.operator | ast.unaryop, operands: tuple[Expression, ...], prior: Value | None = None
) -> Value:
    """What an operator gives; `prior` is what an augmented assignment adds to."""
    name = type(operator).__name__
    plain = Operation(name, operands, prior)
    if name == "Add":
        sides = [value.alternatives() for value in plain.values()]
        if len(sides) == 2 and all(isinstance(value, Group) for side in sides for value in side):
            return either(
                Group(a.items + b.items, a.open or b.open)
                for a in sides[0]
                for b in sides[1]
                if isinstance(a, Group) and isinstance(b, Group)
            )
    numeric = all(isinstance(operand.node, (ast.Constant, ast.BinOp, ast.Name)) for operand in operands)
    if name in ARITHMETIC and prior is None and numeric:
        return _computed(name, [operand.value for operand in operands]) or plain
    return plain


def unary(operator: ast.unaryop, operand: Expression) -> Value:
    """What a sign, or `not`, gives."""
    value = operand.value
    if isinstance(operator, ast.USub) and isinstance(value, Literal) and isinstance(value.value, (int, float)):
        return Literal(-value.value)
    return UNKNOWN if isinstance(operator, ast.Not) else operation(operator, (operand,))


def _computed(name: str, values: list[Value]) -> Value | None:
    numbers = [value.value for value in values if isinstance(value, Literal)]
    if len(numbers) != 2 or (name == "Div" and not numbers[1]):
        return None
    left, right = numbers
    if not isinstance(left, (int, float)) or not isinstance(right, (int, float)) or max(abs(left), abs(right)) > 1e100:
        return None
    found = ARITHMETIC[name](float(left), float(right))
    whole = isinstance(left, int) and isinstance(right, int) and name != "Div"
    return Literal(int(found) if whole else found)
