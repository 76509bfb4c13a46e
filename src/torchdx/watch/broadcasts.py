"""Losses written by hand in which the samples of a batch are spread against each other by broadcasting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdx.watch.answers import spaced
from torchdx.watch.lines import Lines
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import root_of, saved

FEWEST = 8
"""Samples below which two sizes may well be equal by chance, so that such a batch tells nothing."""

_NODES = 200
_MOST_VALUES = 1 << 20
_BINARY = ("AddBackward0", "SubBackward0", "MulBackward0", "DivBackward0")
_SHAPING = ("View", "Squeeze", "Unsqueeze", "ReshapeAlias", "UnsafeView", "Expand", "Transpose", "T", "ToCopy", "Clone")
_BY_ELEMENT = (
    *("Add", "Sub", "Mul", "Div", "Neg", "Rsub", "Pow", "Exp", "Expm1", "Log", "Log1P", "Log2", "Sqrt", "Rsqrt", "Abs"),
    *("Reciprocal", "Clamp", "ClampMin", "ClampMax", "Where", "Maximum", "Minimum", "Sigmoid", "Tanh", "Cosh", "Erf"),
    *("Softplus", "LogSigmoid", "Relu", "Mean", "Sum", "NanToNum", "Lgamma", "Xlogy", "Sign", "Square"),
)
_OF_SIZE = frozenset(f"{name}Backward{k}" for name in (*_BY_ELEMENT, *_SHAPING) for k in range(7))
"""Operations that a loss is made of, from the outputs of a model on."""

Shape = tuple[int, ...]


class Spread(NamedTuple):
    """Where each of N samples meets each other: the operation, both shapes and, if one was not kept, what they vary.

    `own` and `other` are the deviations over samples of what a gradient goes to, and of what is compared with it.
    """

    node: Any
    shapes: tuple[Shape, Shape]
    own: float | None = None
    other: float | None = None


class Broadcasts:
    """From time to time until the very end, goes through what a loss was computed by, back to the model's outputs."""

    def __init__(self, session: Session, lines: Lines) -> None:
        self.session = session
        self.lines = lines
        self._found: set[str] = set()
        self._now = self._next = 0
        session.weave(torch.autograd.backward, before=self._backward)

    def _backward(self, tensors: Any, *_: Any) -> None:
        root = root_of(tensors)
        if self.session.asleep or not self._is_due() or root is None:
            return
        if root.numel() != 1 or root.grad_fn is None:
            return
        with self.session.governor.look():
            found, place = next(spreads(root), None), user_place(2)
            if found is not None and max(found.shapes[0]) < FEWEST:
                return
            if found is not None:
                told = {"shapes": [list(shape) for shape in found.shapes], "own": found.own, "other": found.other}
                self._write(place, operation=found.node.name(), **told)
                self._ask(root, found.node, place)
            elif str(place) in self._found:  # and so it is not always there
                self._write(place)

    def _is_due(self) -> bool:
        """Is this the step for it? All backward passes of one step are."""
        step = self.session.step
        if step >= self._next:
            self._now, self._next = step, spaced(step)
        return step == self._now

    def _write(self, place: Place | None, **told: Any) -> None:
        self.session.write("broadcast", step=self.session.step + 1, site=place, **told)

    def _ask(self, root: Tensor, node: Any, place: Place | None) -> None:
        """Have the line of the operation told, once for each place."""
        if str(place) not in self._found and not self.session.compiled:
            self.lines.ask(root, node, lambda line: self._tell_line(place, line))
        self._found.add(str(place))

    def _tell_line(self, place: Place | None, line: Place) -> None:
        self.session.write("broadcast_line", site=place, line=line)


def spreads(root: Tensor) -> Iterator[Spread]:
    """Every operation between a loss and a model's outputs by which (N, 1) and (N) have become (N, N)."""
    readers: dict[Any, list[Any]] = {root.grad_fn: []}
    queue: list[Any] = [root.grad_fn]
    for node in queue:
        if len(queue) > _NODES:
            return
        if node.name() in _BINARY and _is_square(_shape(node)):
            found = _between_both(node) or _against_data(node, readers)
            if found is not None:
                yield found
        for parent, _ in node.next_functions:
            if parent is None or parent.name() not in _OF_SIZE:
                continue
            if parent not in readers:
                queue.append(parent)
            readers.setdefault(parent, []).append(node)


def _shape(node: Any, place: int = 0) -> Shape:
    """The shape of what an operation gave."""
    told = getattr(node, "_input_metadata", ())
    return tuple(int(size) for size in told[place].shape) if place < len(told) else ()


def _is_square(shape: Shape) -> bool:
    return len(shape) == 2 and shape[0] == shape[1]


def _operands(node: Any) -> list[tuple[Any, Shape]]:
    """What made each of both operands, and its shape; empty where that was not kept, as it has no gradient."""
    found = []
    for (parent, place), name in zip(node.next_functions, ("_saved_self", "_saved_other"), strict=False):
        kept = saved(node, name) if parent is None else None
        shape = _shape(parent, place) if parent is not None else tuple(kept.shape) if kept is not None else ()
        found.append((parent, shape))
    return found


def _between_both(node: Any) -> Spread | None:
    """Both shapes are known, and one has a dimension more that nobody asked for."""
    (one, first), (two, second) = _operands(node)
    size = _shape(node)[0]
    if {first, second} != {(size, 1), (size,)} or not (_is_of_samples(one) or _is_of_samples(two)):
        return None
    if _is_asked_for(one, first) or _is_asked_for(two, second):
        return None
    if one is not None and _source(one) is _source(two):  # every sample against every other, as a ranking loss does
        return None
    return Spread(node, (first, second))


def _against_data(node: Any, readers: dict[Any, list[Any]]) -> Spread | None:
    """One shape is known; the values tell whether what it was compared with differs along the other dimension."""
    operands = _operands(node)
    known = [(parent, shape) for parent, shape in operands if shape]
    size = _shape(node)[0]
    if len(known) != 1 or known[0][1] not in ((size, 1), (size,)) or size * size > _MOST_VALUES:
        return None
    parent, shape = known[0]
    if not _is_of_samples(parent) or _is_asked_for(parent, shape):
        return None
    if size < FEWEST:
        return Spread(node, (shape, shape))
    values = next((kept for reader in _next_two(node, readers) if (kept := _kept(reader, size)) is not None), None)
    if values is None:
        return None
    rows, columns = values.mean(1), values.mean(0)
    rest = values - rows[:, None] - columns + values.mean()
    if not float(rest.abs().max()) <= 1e-3 * float(values.abs().max()):
        return None
    own, other = (rows, columns) if shape == (size, 1) else (columns, rows)
    data = (size,) if shape == (size, 1) else (size, 1)
    return Spread(node, (shape, data), float(own.std()), float(other.std()))


def _next_two(node: Any, readers: dict[Any, list[Any]]) -> list[Any]:
    near = readers.get(node, [])
    return [*near, *(further for reader in near for further in readers.get(reader, []))]


def _kept(reader: Any, size: int) -> Tensor | None:
    """The values of all pairs, as far as an operation needs them for its own gradient."""
    for name in ("_saved_self", "_saved_other"):
        kept = saved(reader, name)
        if kept is not None and tuple(kept.shape) == (size, size) and kept.device.type == "cpu":
            return kept.detach().float()
    return None


def _is_asked_for(node: Any, shape: Shape) -> bool:
    """Was the dimension of 1 put there on purpose, to have pairs?"""
    return node is not None and len(shape) == 2 and node.name().startswith("Unsqueeze")


def _source(node: Any) -> Any:
    """What was there before it was only given another shape."""
    while node is not None and node.name().rstrip("0123456789").removesuffix("Backward") in _SHAPING:
        node = node.next_functions[0][0]
    return node


def _is_of_samples(node: Any) -> bool:
    """Does it come from a model's operations on a batch, and not from parameters alone?"""
    ahead, seen = [node], {node}
    while ahead and len(seen) < _NODES:
        one = ahead.pop()
        if one is None or hasattr(one, "variable"):
            continue
        if one.name() not in _OF_SIZE:
            return True
        new = {parent for parent, _ in one.next_functions} - seen
        seen |= new
        ahead += new
    return False
