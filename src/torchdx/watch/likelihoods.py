"""Likelihoods of classes in an autograd graph, however they are written: what is picked for the true class."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdx.watch.lineage import VIEWS, Lineage, affine_parent, weight_of
from torchdx.watch.mixtures import axis_of
from torchdx.watch.tensors import saved

Sizes = tuple[int, ...]

_DEEPEST = 12
_MOST_USERS = 64
_CLAMPS = ("ClampBackward", "ClampMinBackward", "ClampMaxBackward")
_SHIFTS = ("AddBackward0", "RsubBackward1", "SubBackward0")
_LINEAR = ("AddmmBackward0", "MmBackward0", "LinearBackward0")
_CONVOLVES = ("ConvolutionBackward", "MkldnnConvolution", "CudnnConvolution")
_SQUASHES = {
    "SoftmaxBackward0": "softmax",
    "SigmoidBackward0": "sigmoid",
    "ReluBackward0": "relu",
    "TanhBackward0": "tanh",
}
_SUMS = ("MeanBackward", "SumBackward", "AddBackward0", *(f"{view}Backward" for view in VIEWS), "StackBackward", "Cat")


class Odd(NamedTuple):
    """A likelihood that is none: its last operation, its shape, and what is wrong with it.

    `what` is "axis" (its softmax goes along `axis`, and `classes` is that of the classes; else it is how many there
    are), "squashed" (`by` what stands before its softmax or sigmoid), "unlogged" (a probability is picked, and no
    logarithm is taken) or "raw" (a layer's result is).
    """

    what: str
    node: Any
    shape: Sizes
    classes: int
    axis: int | None = None
    by: str = ""


class _Softmax(NamedTuple):
    """What makes rows sum to 1: the node, along which axis of its result, and the node of the scores."""

    node: Any
    axis: int
    scores: Any


def odd_likelihoods(lineage: Lineage) -> Iterator[Odd]:
    """Everything picked at the true class that is not the logarithm of a softmax of logits along the classes."""
    for node in lineage.called("GatherBackward0", "IndexBackward0", "NllLoss"):
        picked = _picked(node)
        if picked is not None:
            yield from _judged(lineage, node, *picked)
    for node in lineage.called("LogBackward0", "LogSigmoidBackward0"):
        inner = node if node.name().startswith("LogS") else _within_log(node.next_functions[0][0])
        by = _squasher(_above(inner)) if inner is not None and "Sigmoid" in inner.name() else ""
        if by:
            yield Odd("squashed", inner, (), 0, by=by)


def _above(node: Any) -> Any:
    return node.next_functions[0][0]


def _picked(node: Any) -> tuple[Any, Sizes, int] | None:
    """What one is picked of for each sample, its shape, and the axis of the classes; None where that is not so."""
    above = _above(node)
    if above is None or hasattr(above, "variable"):
        return None
    if node.name().startswith("NllLoss"):
        scores = saved(node, "_saved_self")
        return (above, tuple(scores.shape), 1) if scores is not None and scores.dim() > 1 else None
    if node.name() == "GatherBackward0":
        scores, index = saved(node, "_saved_self"), saved(node, "_saved_index")
        if scores is None or index is None or scores.dim() < 2 or scores.dim() != index.dim():
            return None
        axis = axis_of(node._saved_dim, scores.dim())
        return (above, tuple(scores.shape), axis) if index.shape[axis] == 1 else None
    shape, indices = tuple(node._saved_self_sym_sizes), node._saved_indices
    if len(shape) != 2 or len(indices) != 2 or any(not isinstance(one, Tensor) for one in indices):
        return None
    rows = indices[0]
    every = rows.device.type == "cpu" and rows.shape == (shape[0],) and bool((rows == torch.arange(shape[0])).all())
    return (above, shape, 1) if every else None


def _judged(lineage: Lineage, pick: Any, node: Any, shape: Sizes, axis: int) -> Iterator[Odd]:
    classes, logs, alone = shape[axis], 0, True
    if classes < 2:
        return
    for _ in range(_DEEPEST):
        alone = alone and len(lineage.users.get(node, ())) == 1
        softmax = _softmax(node)
        if softmax is not None:
            if softmax.axis != axis and shape[softmax.axis] != classes and not _is_match(softmax.scores):
                yield Odd("axis", softmax.node, shape, axis, softmax.axis)
            elif softmax.axis == axis:
                logs += softmax.node.name() != "SoftmaxBackward0" and node.name() != "DivBackward0"
                by = _squasher(softmax.scores, classes)
                if by and (logs or _is_logged(lineage, pick)):
                    yield Odd("squashed", softmax.node, shape, classes, by=by)
                elif not logs and not pick.name().startswith("NllLoss") and _is_only_summed(lineage, pick):
                    yield Odd("unlogged", softmax.node, shape, classes)
            return
        if _is_layer(node):
            if alone and not logs and not pick.name().startswith("NllLoss") and _is_only_summed(lineage, pick):
                yield Odd("raw", node, shape, classes)
            return
        logs += node.name() == "LogBackward0"
        stepped = _back(node, shape, axis)
        if stepped is None:
            return
        node, shape, axis = stepped


def _back(node: Any, shape: Sizes, axis: int) -> tuple[Any, Sizes, int] | None:
    """What an operation that keeps the classes together read, its shape, and where its classes are."""
    name, above = node.name(), _above(node)
    if above is None or hasattr(above, "variable"):
        return None
    if name.startswith("Transpose"):
        order = list(range(len(shape)))
        one, other = axis_of(node._saved_dim0, len(shape)), axis_of(node._saved_dim1, len(shape))
        order[one], order[other] = other, one
        return above, tuple(shape[k] for k in order), order[axis]
    if name.startswith("Permute"):
        order = [axis_of(dim, len(shape)) for dim in node._saved_dims]
        return above, tuple(shape[order.index(k)] for k in range(len(shape))), order[axis]
    if name.startswith("Unsqueeze"):
        at = axis_of(node._saved_dim, len(shape))
        return (above, shape[:at] + shape[at + 1 :], axis - (axis > at)) if at != axis else None
    before = getattr(node, "_saved_self_sym_sizes", None)
    if name.startswith(("View", "UnsafeView", "ReshapeAlias", "Squeeze")):
        return _viewed(above, tuple(before), shape, axis) if before is not None else None
    if name.startswith(("Slice", "Index")) and before is not None:
        behind = shape[axis:]
        return (above, tuple(before), len(before) - len(behind)) if tuple(before)[-len(behind) :] == behind else None
    if name == "LogBackward0" or name.startswith((*_CLAMPS, "Neg")) or affine_parent(node) is not None:
        return affine_parent(node) or above, shape, axis
    return None


def _viewed(above: Any, before: Sizes, after: Sizes, axis: int) -> tuple[Any, Sizes, int] | None:
    """The axis before a view, if it was one axis then, with as much before it and behind it."""
    for place, size in enumerate(before):
        same = size == after[axis] and math.prod(before[:place]) == math.prod(after[:axis])
        if same and math.prod(before[place + 1 :]) == math.prod(after[axis + 1 :]):
            return above, before, place
    return None


def _softmax(node: Any) -> _Softmax | None:
    """The softmax, or its logarithm, that this is, be it of torch's or written out."""
    name, below = node.name(), node.next_functions
    if name in ("SoftmaxBackward0", "LogSoftmaxBackward0"):
        result = saved(node, "_saved_result")
        return _Softmax(node, axis_of(node._saved_dim, result.dim()), below[0][0]) if result is not None else None
    if name not in ("SubBackward0", "DivBackward0") or len(below) != 2 or None in (below[0][0], below[1][0]):
        return None
    over = below[0]
    if name == "DivBackward0":
        if over[0].name() != "ExpBackward0":
            return None
        over = over[0].next_functions[0]
        found = _exponentials(_unviewed(below[1][0]))
    else:
        total = _unviewed(below[1][0])
        if total.name() == "LogsumexpBackward0":
            found = (total.next_functions[0], _only_axis(total, saved(total, "_saved_self")))
        else:
            found = _exponentials(_unviewed(_above(total))) if total.name() == "LogBackward0" else None
    if found is None or found[0] != over or found[1] is None:
        return None
    return _Softmax(node, found[1], over[0])


def _exponentials(node: Any) -> tuple[Any, int | None] | None:
    """Of what a sum of exponentials is, and along which axis."""
    if node is None or node.name() != "SumBackward1" or _above(node).name() != "ExpBackward0":
        return None
    dims, rank = node._saved_dim, len(node._saved_self_sym_sizes)
    return _above(node).next_functions[0], axis_of(dims[0], rank) if len(dims) == 1 else None


def _only_axis(node: Any, given: Tensor | None) -> int | None:
    dims = node._saved_dim
    return axis_of(dims[0], given.dim()) if given is not None and len(dims) == 1 else None


def _unviewed(node: Any) -> Any:
    while node is not None and node.name().startswith((*VIEWS, "Expand")):
        node = _above(node)
    return node


def _within_log(node: Any) -> Any:
    """The operation whose result, or one less it, is in a logarithm, safe from zero."""
    for _ in range(4):
        if node is None or not (node.name().startswith((*_CLAMPS, *VIEWS)) or node.name() in _SHIFTS):
            break
        node = next((one for one, _ in node.next_functions if one is not None), None)
    return node


def _squasher(node: Any, classes: int = 0) -> str:
    """The activation that this is, seen through what lays it out otherwise; of a softmax, one of so many classes."""
    while node is not None and node.name().startswith((*VIEWS, "Transpose", "Permute")):
        node = _above(node)
    if node is None or hasattr(node, "variable"):
        return ""
    if node.name().startswith(_CLAMPS[:2]):
        least = getattr(node, "_saved_min", None)
        return "relu" if least == 0 and getattr(node, "_saved_max", None) is None else ""
    if node.name() == "DivBackward0":
        return "softmax" if _softmax(node) is not None else ""
    by = _SQUASHES.get(node.name(), "")
    result = saved(node, "_saved_result") if by == "softmax" else None
    if by == "softmax" and (result is None or result.shape[axis_of(node._saved_dim, result.dim())] != classes):
        return ""
    return by


def _is_layer(node: Any) -> bool:
    """Is it what a layer with a weight gives?"""
    if node.name() in _LINEAR:
        return weight_of(node) is not None
    return node.name().startswith(_CONVOLVES) and hasattr(node.next_functions[1][0], "variable")


def _is_match(node: Any) -> bool:
    """Are these the products of two computed tensors, each of which may look for its like among the others?"""
    for _ in range(_DEEPEST):
        if node is None or hasattr(node, "variable"):
            return False
        if node.name() in ("MmBackward0", "BmmBackward0"):
            return node.name() == "BmmBackward0" or weight_of(node) is None
        node = affine_parent(node) or (_above(node) if node.name().startswith(("Transpose", "Permute")) else None)
    return False


def _is_logged(lineage: Lineage, pick: Any) -> bool:
    """Is a logarithm taken of what was picked?"""
    ahead = [pick]
    for one in ahead:
        users = [user for user, _ in lineage.users.get(one, ())]
        if any(user.name() == "LogBackward0" for user in users):
            return True
        ahead += [user for user in users if user.name().startswith((*_CLAMPS, *VIEWS, "Add")) and user not in ahead]
        if len(ahead) > _MOST_USERS:
            break
    return False


def _is_only_summed(lineage: Lineage, pick: Any) -> bool:
    """Does the objective hold nothing of it but its sum, with a minus, weighted by positive numbers at most?"""
    ahead: list[tuple[Any, int]] = [(pick, 1)]
    for one, sign in ahead:
        users = lineage.users.get(one, ())
        if not users and sign > 0:
            return False
        for user, place in users:
            factor = _sign(user, place)
            if factor is None or len(ahead) > _MOST_USERS:
                return False
            if all(user is not known for known, _ in ahead):
                ahead.append((user, sign * factor))
    return True


def _sign(node: Any, place: int) -> int | None:
    """The sign that a sum, or a product with positive numbers, gives to one of its terms; None of anything else."""
    name = node.name()
    if name.startswith(_SUMS):
        return 1
    if name.startswith("Neg"):
        return -1
    if name == "SubBackward0":
        return -1 if place == 1 else 1
    if name not in ("MulBackward0", "DivBackward0") or sum(one is not None for one, _ in node.next_functions) != 1:
        return None
    factor = saved(node, "_saved_other" if place == 0 else "_saved_self")
    if factor is None or factor.device.type != "cpu" or (name == "DivBackward0" and place == 1):
        return None
    if bool((factor >= 0).all()):
        return 1
    return -1 if factor.numel() == 1 else None
