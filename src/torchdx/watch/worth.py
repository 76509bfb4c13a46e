"""The value that a small function of parameters or activations had, told from what its graph kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdx.watch.tensors import saved

_RESULTS = ("Norm", "LinalgVectorNorm", "Sqrt", "Exp", "Tanh", "Sigmoid", "Relu")
_SAME = ("ToCopy", "View", "Squeeze", "Unsqueeze", "ReshapeAlias", "Clone", "T", "Transpose", "Permute", "UnsafeView")


def worth_of(node: Any) -> Tensor | None:
    """The value, of which only the number and not the order of the elements counts; None where it is not known.

    A number that was added is taken for zero, as that with which `sum` begins is.
    """
    name = node.name().split("Backward")[0]
    if name.endswith("AccumulateGrad"):
        return _read(node.variable)
    below = [parent for parent, _ in node.next_functions]
    if name in _RESULTS:
        return _read(saved(node, "_saved_result"))
    if name in ("Abs", "Pow"):
        return _of_itself(name, node)
    if name in ("Sum", "Mean"):
        inner = worth_of(below[0])
        return _reduced(name, node, inner) if inner is not None else None
    if name in ("Mul", "Div"):
        return _product(name, node, below)
    if name == "Neg":
        return -inner if (inner := worth_of(below[0])) is not None else None
    if name in ("Add", "Sub"):
        return _sum(name, node, below)
    if name in ("Stack", "Cat"):
        parts = [worth_of(parent) if parent is not None else None for parent in below]
        known = [part.reshape(-1) for part in parts if part is not None]
        return torch.cat(known) if len(known) == len(parts) else None
    return worth_of(below[0]) if name in _SAME and below and below[0] is not None else None


def _read(value: Any) -> Tensor | None:
    """As it may be computed with."""
    usable = isinstance(value, Tensor) and value.device.type == "cpu" and value.is_floating_point()
    return value.detach() if usable else None


def _of_itself(name: str, node: Any) -> Tensor | None:
    inner = _read(saved(node, "_saved_self"))
    if inner is None or name == "Abs":
        return None if inner is None else inner.abs()
    power = getattr(node, "_saved_exponent", None)
    return inner.pow(power) if isinstance(power, int | float) else None


def _reduced(name: str, node: Any, inner: Tensor) -> Tensor | None:
    """The sum or mean of all, or along some axes: then the shape must be as it was."""
    dims = getattr(node, "_saved_dim", None)
    if dims is None:
        return inner.sum() if name == "Sum" else inner.mean()
    shape = tuple(node._saved_self_sym_sizes)
    if tuple(inner.shape) != shape:
        return None
    axes = [dim - (1 << 64) if dim >= 1 << 63 else dim for dim in ([dims] if isinstance(dims, int) else dims)]
    return inner.sum(axes, node._saved_keepdim) if name == "Sum" else inner.mean(axes, node._saved_keepdim)


def _product(name: str, node: Any, below: list[Any]) -> Tensor | None:
    sides = [_read(kept) if (kept := saved(node, f"_saved_{side}")) is not None else None for side in ("self", "other")]
    for place in (0, 1):
        if sides[place] is None and place < len(below) and below[place] is not None:
            sides[place] = worth_of(below[place])
    one, other = sides
    if one is None or other is None:
        return None
    if one.shape != other.shape and 1 not in (one.numel(), other.numel()):
        return None
    return one * other if name == "Mul" else one / other


def _sum(name: str, node: Any, below: list[Any]) -> Tensor | None:
    parts = [worth_of(parent) if parent is not None else None for parent in below]
    if len(parts) == 1 or None in below:
        known = next((part for part, parent in zip(parts, below, strict=True) if parent is not None), None)
        return known if known is not None and known.numel() == 1 else None
    one, other = parts
    if one is None or other is None or (one.shape != other.shape and 1 not in (one.numel(), other.numel())):
        return None
    times = float(node._saved_alpha) * (1 if name == "Add" else -1)
    return one + times * other
