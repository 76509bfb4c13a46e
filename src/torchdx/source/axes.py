"""Which dimension a softmax made sum to 1, and which one the sum weighted by it goes over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from torchdx.source.endings import DROPOUTS, LINEAR
from torchdx.source.expressions import Call, Expression
from torchdx.source.ranks import rank_of
from torchdx.source.reading import words
from torchdx.source.values import Argument, Item, Literal, Operation, Result, Value, literal
from torchdx.source.walks import reached

if TYPE_CHECKING:
    from torchdx.source.definitions import UserFunction
    from torchdx.source.program import Program

KEEPING = DROPOUTS | words("contiguous float double half to cuda cpu clone detach type_as masked_fill Identity")
STACKING = words("stack cat")
RANKS = range(2, 6)
"""How many dimensions a tensor may have of which nothing is known."""


def axis_of(result: Result) -> Expression | None:
    """The axis of a softmax, as given to the layer, the function or the method."""
    if result.module is not None:
        return result.module.call.argument(0, "dim") if result.module.call is not None else None
    return result.call.argument(1 if result.given is None else 0, "dim")


def summed_axes(value: Value) -> dict[int, tuple[Result, int]]:
    """For each number of dimensions that a value may have, the softmax behind it and the dimension that sums to 1."""
    rank = rank_of(value)
    found = {one: _summed(value, one) for one in ([rank] if rank is not None else RANKS)}
    return {one: known for one, known in found.items() if known is not None}


def _summed(value: Value, rank: int, depth: int = 0) -> tuple[Result, int] | None:
    if not isinstance(value, Result) or depth > 10:
        return None
    last = value.dotted.rpartition(".")[2]
    if last in ("softmax", "Softmax"):
        axis = axis_of(value)
        place = _place(axis.literal if axis is not None else None, rank)
        return (value, place) if place is not None else None
    if last in KEEPING:
        return _summed(value.input, rank, depth + 1)
    numbers = _numbers(value)
    change = rank + {"unsqueeze": -1, "squeeze": 1}.get(last, 0)
    known = _summed(value.input, change, depth + 1) if numbers else None
    moved = _moved(last, known[1], numbers, rank) if known is not None else None
    return (known[0], moved) if known is not None and moved is not None else None


def _moved(operation: str, axis: int, numbers: list[object], rank: int) -> int | None:
    """Where a dimension is after a change of shape that gives a tensor of this rank."""
    places = [_place(number, max(rank, rank + (operation == "squeeze"))) for number in numbers]
    if any(place is None for place in places):
        return None
    first = places[0]
    assert first is not None
    if operation == "unsqueeze" and len(places) == 1:
        return axis + (first <= axis)
    if operation == "squeeze" and len(places) == 1:
        return axis - (first < axis) if first != axis else None
    if operation in ("transpose", "swapaxes", "swapdims") and len(places) == 2:
        return {places[0]: places[1], places[1]: places[0]}.get(axis, axis)
    return places.index(axis) if operation == "permute" and len(places) == rank and axis in places else None


def _numbers(value: Result) -> list[object]:
    """The numbers that a method, or function, of a change of shape is given beside the tensor."""
    given = value.call.node.args[0 if value.given is not None else 1 :]
    return [literal(value.call.at(node).value) for node in given] if not value.call.node.keywords else []


def _place(number: object, rank: int) -> int | None:
    if not isinstance(number, int) or not -rank <= number < rank:
        return None
    return number if number >= 0 else number + rank


class Mixture(NamedTuple):
    """A sum weighted by a softmax's shares: the dimension that these sum to 1 in, and the one that is summed over."""

    softmax: Result
    axis: int
    summed: int
    meant: int
    text: str


def mixtures(program: Program) -> Iterator[Mixture]:
    """Every weighted sum whose shares are those of other samples, or of other heads, for certain."""
    functions: dict[UserFunction, None] = {}
    for call in program.calls_named("softmax", "Softmax"):
        axis = call.argument(0, "dim") or call.argument(1, "dim")
        function = call.function
        if function is None or axis is None or ast.unparse(axis.node) == "-1":
            continue
        owner = function.owner
        made = call.method == "Softmax" and owner is not None
        functions.update(dict.fromkeys(owner.own_methods if made and owner is not None else [function]))
    for function in functions:
        for node in ast.walk(function.node):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                yield from _product(Expression(program, function.file, node), node.left, None)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield from _called(Call(program, function.file, node))


def _called(call: Call) -> Iterator[Mixture]:
    if call.method in ("matmul", "bmm"):
        left = call.argument(0, "input") if call.name else call.receiver
        if left is not None:
            yield from _product(call, left.node, 3 if call.method == "bmm" else None)
    elif call.method == "sum":
        yield from _weighted_sum(call)


def _product(whole: Expression, left: ast.expr, rank: int | None) -> Iterator[Mixture]:
    """A matrix product keeps all but two dimensions apart: shares along one of the others are of something else."""
    weights = whole.at(left).value
    one = rank if rank is not None else rank_of(weights)
    found = _summed(weights, one) if one is not None else None
    if one is not None and found is not None and found[1] < one - 2 and _is_scored(found[0].input):
        yield Mixture(*found, one - 1, -1, " ".join(whole.text.split()))


def _weighted_sum(call: Call) -> Iterator[Mixture]:
    """`(weights.unsqueeze(-1) * x).sum(1)`, where the weights are scores of this very x, shared out over the batch."""
    given = call.argument(0, "input") if call.name else call.receiver
    axis = call.argument(1 if call.name else 0, "dim")
    over = axis.literal if axis is not None else None
    product = given.value if given is not None and isinstance(over, int) and over > 0 else None
    if not isinstance(product, Operation) or product.operator != "Mult" or not isinstance(over, int):
        return
    factors = list(product.values())
    for weights, mixed in ((factors[0], factors[-1]), (factors[-1], factors[0])):
        found = list(summed_axes(weights).values())
        if found and all(place == 0 for _, place in found):
            scores = found[0][0].input
            if _is_scored(scores) and any(_is_same(one, mixed) for one in reached(scores, _inside)):
                yield Mixture(found[0][0], 0, over, over, " ".join(call.text.split()))


def _is_scored(scores: Value) -> bool:
    """Are they scores that a layer gives, or products, as of queries and keys?"""
    for one in reached(scores, _inside):
        if isinstance(one, Operation) and one.operator == "MatMult":
            return True
        if isinstance(one, Result) and (LINEAR.match(one.dotted) or one.dotted.rpartition(".")[2] in ("matmul", "bmm")):
            return True
        if not isinstance(one, Operation | Result | Literal) or one.name.rpartition(".")[2] in STACKING:
            return False
    return False


def _inside(value: Value) -> Iterator[Value]:
    if isinstance(value, Operation):
        yield from value.values()
    elif isinstance(value, Result):
        yield value.input
    elif isinstance(value, Item):
        yield value.of


def _is_same(one: Value, other: Value) -> bool:
    """Are both certainly one and the same thing?"""
    if isinstance(one, Argument) and isinstance(other, Argument):
        return one.parameter == other.parameter and one.function is other.function
    return one is other


def first_axis_of(call: Call) -> Expression | None:
    """The axis of a choice along it, where it is written as 0."""
    node = call.node
    place = 1 if call.name else 0
    given = [keyword.value for keyword in node.keywords if keyword.arg == "dim"] or node.args[place : place + 1]
    is_zero = bool(given) and isinstance(given[0], ast.Constant) and given[0].value == 0 and given[0].value is not False
    return call.at(given[0]) if is_zero else None


def is_compared(call: Call) -> bool:
    """Is it, or the name that it is given, compared for equality in its function?"""
    file = call.file
    statement = file.statement(call.node)
    if any(isinstance(above, ast.Compare) for above in file.ancestors(call.node)):
        return True
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    last = target.elts[-1] if isinstance(target, ast.Tuple) and target.elts else target
    if not isinstance(last, ast.Name):
        return False
    scope = file.scope_of(call.node).node
    text = file.text if isinstance(scope, ast.Module) else file.text_of(scope)
    return re.search(rf"\b{last.id}\b\s*==|==\s*{last.id}\b|\beq\(\s*{last.id}\b|\b{last.id}\.eq\(", text) is not None
