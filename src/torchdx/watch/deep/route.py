"""The way from a model's output to what its loss was given, read off the autograd graph to be gone again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LONGEST = 12
"""Operations between the output and the loss that are followed."""

MOST = 32
"""Operations after a loss that are looked through for it."""

_RESHAPES = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Reshape")
_UNITS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
    "Exp": torch.exp,
    "T": torch.t,
    "Clone": torch.clone,
    "Alias": torch.clone,
}
_SCALES = ("Mul", "Div", "View", "Squeeze", "Mean", "Sum", "ToCopy", "Clone")
"""Operations that leave a loss what it is, up to a factor: accumulation divides by it, a scaler multiplies."""

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Reshape:
    """To this shape; where there are fewer samples than there were, the first dimension shrinks with them."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    def __call__(self, tensor: Tensor) -> Tensor:
        """The tensor in its new shape."""
        if tuple(tensor.shape) == self.before or not self.after:
            return tensor.reshape(self.after)
        first = self.after[0] * tensor.shape[0] // self.before[0]
        return tensor.reshape(first, *self.after[1:])


def number_of(tensor: Tensor) -> int | None:
    """The number of the operation that made the tensor."""
    return tensor.grad_fn._sequence_nr() if tensor.grad_fn is not None else None


def route(start: Mapping[int, Any], given: Tensor) -> tuple[Any, tuple[Step, ...]] | None:
    """The entry of `start` (by operation number) that the tensor comes from, and the steps from there to it."""
    return route_from(start, given.grad_fn)


def route_from(start: Mapping[int, Any], node: Any) -> tuple[Any, tuple[Step, ...]] | None:
    """The same of the operation that made a tensor."""
    steps = list[Step]()
    for _ in range(LONGEST):
        if node is None:
            return None
        if node._sequence_nr() in start:
            return start[node._sequence_nr()], tuple(reversed(steps))
        step, node = _step(node), _only_parent(node)
        if step is None:
            return None
        steps.append(step)
    return None


def scaled_from(start: Mapping[int, Any], objective: Tensor) -> Any:
    """The entry of `start` that the objective is, but for a factor."""
    node = objective.grad_fn
    for _ in range(LONGEST):
        if node is None:
            return None
        if node._sequence_nr() in start:
            return start[node._sequence_nr()]
        node = _only_parent(node) if _kind(node) in _SCALES and _is_scalar(node) else None
    return None


def leads_to(objective: Tensor, number: int) -> bool:
    """Is the objective made of what the operation of this number gave, a few operations on?"""
    nodes, seen = [objective.grad_fn], 0
    while nodes and seen < MOST:
        node, seen = nodes.pop(), seen + 1
        if node is not None and node._sequence_nr() == number:
            return True
        if node is not None and node._sequence_nr() > number:
            nodes += [parent for parent, _ in node.next_functions]
    return False


def _is_scalar(node: Any) -> bool:
    return all(not tuple(meta.shape) or set(meta.shape) == {1} for meta in getattr(node, "_input_metadata", ()))


def _kind(node: Any) -> str:
    return re.sub(r"Backward\d*$", "", node.name())


def _only_parent(node: Any) -> Any:
    parents = [parent for parent, _ in node.next_functions if parent is not None]
    return parents[0] if len(parents) == 1 else None


def _step(node: Any) -> Step | None:
    """The operation of this node as a function; None where it is not one that can be done again."""
    kind, parent = _kind(node), _only_parent(node)
    if parent is None:
        return None
    if kind in _RESHAPES:
        before, after = _shape(parent), _shape(node)
        return Reshape(before, after) if before is not None and after is not None else None
    if kind in ("Transpose", "Permute", "Select", "Slice", "LogSoftmax", "Softmax"):
        return _indexed(kind, node)
    if kind == "ToCopy":
        dtype = node._input_metadata[0].dtype
        return lambda tensor: tensor.to(dtype)
    return _UNITS.get(kind)


def _indexed(kind: str, node: Any) -> Step:
    def saved(name: str) -> int:
        value = int(getattr(node, f"_saved_{name}"))
        return value - (1 << 64) if value >= 1 << 63 else value

    if kind == "Permute":
        dims = tuple(int(dim) - (1 << 64) if int(dim) >= 1 << 63 else int(dim) for dim in node._saved_dims)
        return lambda tensor: tensor.permute(dims)
    if kind == "Transpose":
        one, other = saved("dim0"), saved("dim1")
        return lambda tensor: tensor.transpose(one, other)
    dim = saved("dim")
    if kind == "Select":
        index = saved("index")
        return lambda tensor: tensor.select(dim, index)
    if kind == "Slice":
        part = slice(saved("start"), saved("end"), saved("step"))
        return lambda tensor: tensor[(slice(None),) * (dim % tensor.dim()) + (part,)]
    function = torch.log_softmax if kind == "LogSoftmax" else torch.softmax
    return lambda tensor: function(tensor, dim)


def _shape(node: Any) -> tuple[int, ...] | None:
    metadata = getattr(node, "_input_metadata", None)
    return tuple(int(size) for size in metadata[0].shape) if metadata else None
