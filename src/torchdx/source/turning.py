"""Shapes that are cut anew where dimensions were to be exchanged: `x.reshape(x.size(1), x.size(0), -1)`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from torchdx.source.shapes import names_of_shape

if TYPE_CHECKING:
    from torchdx.source.expressions import Call


class Scramble(NamedTuple):
    """What is wrong with one call, and what does what was meant."""

    message: str
    cure: str
    confidence: float = 0.95


def number_in(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def is_rest(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and number_in(node.operand) == 1


def reordered(call: Call, tensor: ast.Name, sizes: list[ast.expr]) -> Scramble | None:
    parts = [_names(size) for size in sizes]
    named = [name for part in parts for name in part or ()]
    if not named or any(part is None for part in parts) or sum(part == () for part in parts) > 1:
        return None
    shape = names_of_shape(call, tensor, named)
    if shape is None or not {name.id for name in named} <= set(shape):
        return None
    rest = [name for name in shape if name not in {one.id for one in named}]
    order = [word for part in parts for word in (sorted((one.id for one in part), key=shape.index) if part else rest)]
    first = shape[0] in rest and [w for w in order if w != shape[0]] == [w for w in shape if w != shape[0]]
    if sorted(order) != sorted(shape) or order == shape or first:
        return None
    moves = ", ".join(str(shape.index(word)) for word in order)
    cure = f"{tensor.id}.permute({moves})"
    if any(part is None or len(part) != 1 for part in parts):
        cure += f".reshape({', '.join(call.file.text_of(size) for size in sizes)})"
    return Scramble(f"cuts ({', '.join(shape)}) anew, and does not put it in the order ({', '.join(order)})", cure)


def turned(call: Call, sizes: list[ast.expr]) -> Scramble | None:
    """Is it cut into its own sizes, `x.size(1)` before `x.size(0)`?"""
    receiver = call.receiver
    places = [place_of(size, receiver.text) if receiver is not None else None for size in sizes]
    known = [place for place in places if place is not None]
    if receiver is None or {*known[:2]} != {0, 1} or places[:2] != [1, 0] or known[2:] != sorted(known[2:]):
        return None
    return Scramble("cuts it anew, and does not exchange the first two dimensions", f"{receiver.text}.transpose(0, 1)")


def place_of(size: ast.expr, text: str) -> int | None:
    """Which of the sizes of what is called so it is: of `x.size(1)` and `x.shape[1]`, 1."""
    if isinstance(size, ast.Call) and isinstance(size.func, ast.Attribute) and len(size.args) == 1:
        place, of = size.args[0], size.func.value if size.func.attr == "size" else None
    elif isinstance(size, ast.Subscript) and isinstance(size.value, ast.Attribute):
        place, of = size.slice, size.value.value if size.value.attr == "shape" else None
    else:
        return None
    number = number_in(place)
    return number if isinstance(number, int) and of is not None and ast.unparse(of) == text else None


def _names(size: ast.expr) -> tuple[ast.Name, ...] | None:
    """The names of a size `h` or `h * w`; none for -1, the rest; None for anything else."""
    if isinstance(size, ast.Name):
        return (size,)
    if isinstance(size, ast.BinOp) and isinstance(size.op, ast.Mult):
        left, right = _names(size.left), _names(size.right)
        return (*left, *right) if left and right else None
    return () if is_rest(size) else None
