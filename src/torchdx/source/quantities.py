"""Is a number a variance, a standard deviation, or a logarithm of one? Told by how it is computed, then by name."""

from __future__ import annotations

import ast
import re
from typing import Literal, NamedTuple

from torchdx.source.expressions import Call, Expression
from torchdx.source.index import Binding, last_word
from torchdx.source.reading import words

Kind = Literal["variance", "std", "log-variance", "log-std", "precision", "unknown"]


class Quantity(NamedTuple):
    """What kind of spread a number is, and whether that follows from a computation rather than from a name."""

    kind: Kind
    computed: bool = False


UNKNOWN = Quantity("unknown")
NAMES: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"log_?(var|variance|sigma_?(2|sq|squared))s?(_|$)|(^|_)lv$", re.IGNORECASE), "log-variance"),
    (re.compile(r"log_?(std|stddev|sigma|scale|deviation)s?(_|$)", re.IGNORECASE), "log-std"),
    (re.compile(r"(^|_)(var|variance|sigma2|sigma_sq|sigma_squared)$", re.IGNORECASE), "variance"),
    (re.compile(r"(^|_)(std|sd|stdev|stddev|sigma|deviation)s?$", re.IGNORECASE), "std"),
)
KEEPING = words("clamp clip clamp_min view reshape squeeze unsqueeze expand expand_as to detach")


def quantity_of(expression: Expression, depth: int = 0) -> Quantity:
    """What kind of spread an expression is."""
    node = expression.node
    if depth > 8:
        return UNKNOWN
    if isinstance(node, ast.Name):
        return _of_name(expression, node, depth)
    if isinstance(node, ast.Attribute):
        return _named(node.attr)
    if isinstance(node, ast.Call):
        return _of_call(expression, node, depth)
    if isinstance(node, ast.BinOp):
        return _of_arithmetic(expression, node, depth)
    return UNKNOWN


def _of_name(expression: Expression, node: ast.Name, depth: int) -> Quantity:
    found = expression.program.names.binding(expression.file, node)
    if isinstance(found, Binding) and found.how == "assign" and not found.steps and found.value is not None:
        computed = quantity_of(expression.at(found.value), depth + 1)
        if computed.computed or computed.kind != "unknown":
            return computed
        if isinstance(found.value, (ast.Call, ast.BinOp)) and not _is_layer_call(expression.at(found.value)):
            return _named(node.id) if _is_made_positive(found.value) else UNKNOWN
    if isinstance(found, Binding) and found.how == "assign" and len(found.steps) == 1:
        given = _of_part(expression, found, depth)
        if given.kind != "unknown":
            return given
    return _named(node.id)


def _of_part(expression: Expression, binding: Binding, depth: int) -> Quantity:
    """What a function, or a model, returns at a place of several, if that is the same wherever it returns."""
    if not isinstance(binding.value, ast.Call):
        return UNKNOWN
    call, place, found = Call(expression.program, expression.file, binding.value), binding.steps[0], set()
    for function in expression.program.effects.targets(call):
        for value in function.returns:
            if not isinstance(value, ast.Tuple) or place >= len(value.elts):
                return UNKNOWN
            found.add(quantity_of(Expression(expression.program, function.file, value.elts[place]), depth + 1))
    return found.pop() if len(found) == 1 else UNKNOWN


def _is_made_positive(node: ast.expr) -> bool:
    """Is it a softplus, with a small number added: of no kind of itself, so that its name tells?"""
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        node = node.right if isinstance(node.left, ast.Constant) else node.left
    return isinstance(node, ast.Call) and last_word(node) == "softplus"


def _is_layer_call(expression: Expression) -> bool:
    """Is it the output of some layer, which only its name can tell apart from another's?"""
    node = expression.node
    if not isinstance(node, ast.Call):
        return False
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    return (isinstance(owner, ast.Name) and owner.id == "self") or expression.value.name.startswith("torch.nn.")


def _named(name: str) -> Quantity:
    return next((Quantity(kind) for pattern, kind in NAMES if pattern.search(name)), UNKNOWN)


def _of_call(expression: Expression, node: ast.Call, depth: int) -> Quantity:
    func = node.func
    name = last_word(node)
    resolved = expression.program.resolve(expression.file, func)
    free = resolved is not None and resolved.name.startswith("torch.")
    inner_node = node.args[0] if free and node.args else func.value if isinstance(func, ast.Attribute) else None
    if inner_node is None:
        return UNKNOWN
    if name in ("var", "std") and not (isinstance(inner_node, ast.Name) and inner_node.id == "self"):
        return Quantity("variance" if name == "var" else "std", True)
    inner = quantity_of(expression.at(inner_node), depth + 1)
    if name == "exp":
        kinds: dict[Kind, Kind] = {"log-variance": "variance", "log-std": "std"}
        return Quantity(kinds.get(inner.kind, "unknown"), inner.kind in kinds)
    if name == "sqrt":
        return Quantity("std" if inner.kind == "variance" else "unknown", True)
    if name == "log":
        logs: dict[Kind, Kind] = {"variance": "log-variance", "std": "log-std"}
        return Quantity(logs.get(inner.kind, "unknown"), inner.computed)
    if name in ("mul", "div", "pow", "square") and not free:
        argument = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        return _scaled(name, inner, 2 if name == "square" else argument)
    return inner if name in KEEPING else UNKNOWN


def _scaled(name: str, inner: Quantity, number: object) -> Quantity:
    if inner.kind == "log-variance" and (name, number) in (("mul", 0.5), ("div", 2), ("div", 2.0)):
        return Quantity("log-std", True)
    if inner.kind == "std" and name in ("pow", "square") and number == 2:
        return Quantity("variance", True)
    return Quantity("unknown", True)


def _of_arithmetic(expression: Expression, node: ast.BinOp, depth: int) -> Quantity:
    left, right = node.left, node.right
    if isinstance(left, ast.Constant) and isinstance(node.op, (ast.Mult, ast.Add)):
        left, right = right, left
    if not isinstance(right, ast.Constant):
        return UNKNOWN
    inner = quantity_of(expression.at(left), depth + 1)
    if isinstance(node.op, ast.Add):
        return inner
    word = {"Mult": "mul", "Div": "div", "Pow": "pow"}.get(type(node.op).__name__, "")
    if word == "pow" and right.value == 0.5:
        return Quantity("std" if inner.kind == "variance" else "unknown", True)
    return _scaled(word, inner, right.value) if word else UNKNOWN
