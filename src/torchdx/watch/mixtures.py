"""Weighted means in an autograd graph: along which axis a softmax made the weights, and along which they are summed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from torchdx.watch.bounds import difference
from torchdx.watch.lineage import VIEWS, Lineage, affine_parent
from torchdx.watch.tensors import saved

Axes = list[int | None]

_DEEPEST = 10
_BETWEEN = (*VIEWS, "Expand", "Transpose", "Permute", "NativeDropout")


def mixtures(lineage: Lineage) -> Iterator[tuple[Any, int, tuple[int, ...], int, str]]:
    """Of each softmax that weighs a sum along another axis: node, axis, shape, axis of the sum, and why that is odd.

    It is odd where the softmax's axis is one element long ("single"), where nothing but the batch of a product is there
    ("apart"), where it comes from a product of two computed tensors, as the scores of an attention do ("product"), or
    where it is the first axis, which may be the batch ("first"). Squared errors of a softmax along the first of two
    axes, summed along the second as those of one sample are, are told likewise ("errors").
    """
    for node, place in ((n, k) for n in lineage.called("BmmBackward0") for k in (0, 1)):
        path = _path_to_softmax(node.next_functions[place][0])
        operand = saved(node, "_saved_self" if place == 0 else "_saved_mat2")
        axes = _axes_after(path, tuple(operand.shape)) if path and operand is not None else None
        if axes is not None and len(axes) == 3:
            yield from _judged(path[-1], [axes[2 - place]], axes[1 + place])
    for node in lineage.called("SumBackward1"):
        product = node.next_functions[0][0]
        error = difference(product) if product is not None else None
        if product is None or (error is None and product.name() != "MulBackward0"):
            continue
        operands = [one for one, _ in (error or product).next_functions]
        if error is None and any(one is None for one in operands):
            continue
        for path in filter(None, map(_path_to_softmax, operands)):
            shape = tuple(node._saved_self_sym_sizes)
            axes = _axes_after(path, None)
            if axes is not None and len(axes) <= len(shape):
                whole: Axes = [*[None] * (len(shape) - len(axes)), *axes]
                summed = [whole[axis_of(dim, len(shape))] for dim in node._saved_dim]
                yield from _judged(path[-1], summed, -1) if error is None else _compared(path[-1], summed)


def axis_of(dim: int, rank: int) -> int:
    """The axis from the front; autograd keeps -1 as the greatest number there is."""
    return (dim - (1 << 64) if dim >= 1 << 63 else dim) % max(1, rank)


def _judged(
    softmax: Any, summed: Sequence[int | None], kept: int | None
) -> Iterator[tuple[Any, int, tuple[int, ...], int, str]]:
    """The softmax, if its weights are summed along another axis only; `kept` is the axis a product keeps, or -1."""
    result = saved(softmax, "_saved_result")
    along = [axis for axis in summed if axis is not None]
    if result is None or result.dim() < 2 or len(along) != 1:
        return
    shape, axis = tuple(result.shape), axis_of(softmax._saved_dim, result.dim())
    if axis in along or shape[along[0]] < 2:
        return
    why = ""
    if shape[axis] == 1:
        why = "single"
    elif kept != -1 and axis != kept:
        why = "apart"
    elif _is_product(softmax.next_functions[0][0]):
        why = "product"
    elif axis == 0:
        why = "first"
    if why:
        yield softmax, axis, shape, along[0], why


def _compared(softmax: Any, summed: Sequence[int | None]) -> Iterator[tuple[Any, int, tuple[int, ...], int, str]]:
    """The softmax along the first of two axes, if its squared errors are summed along the second."""
    result = saved(softmax, "_saved_result")
    if result is None or result.dim() != 2 or axis_of(softmax._saved_dim, 2) != 0 or list(summed) != [1]:
        return
    if min(result.shape) > 1 and result.shape[0] != result.shape[1]:
        yield softmax, 0, tuple(result.shape), 1, "errors"


def _path_to_softmax(node: Any) -> list[Any]:
    """The nodes from here back to the softmax whose result this is a view of; empty if it is none."""
    path: list[Any] = []
    while node is not None and len(path) < _DEEPEST:
        path.append(node)
        if node.name() == "SoftmaxBackward0":
            return path
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        reshapes = node.name().startswith(_BETWEEN) and len(parents) == 1
        node = parents[0] if reshapes else (affine_parent(node) if node.name() == "MulBackward0" else None)
    return []


def _axes_after(path: Sequence[Any], shape: tuple[int, ...] | None) -> Axes | None:
    """Which of the softmax's axes each axis of its last view is; `shape` is that of the last view, if it is known."""
    result = saved(path[-1], "_saved_result")
    if result is None:
        return None
    axes: Axes = list(range(result.dim()))
    sizes = tuple(result.shape)
    ahead = list(reversed(path[:-1]))
    for place, node in enumerate(ahead):
        given = shape if place + 1 == len(ahead) else getattr(ahead[place + 1], "_saved_self_sym_sizes", None)
        stepped, sizes = _step(node, axes, sizes, tuple(given) if given is not None else None)
        if stepped is None:
            return None
        axes = stepped
    return axes


def _step(node: Any, axes: Axes, sizes: tuple[int, ...], given: tuple[int, ...] | None) -> tuple[Axes | None, Any]:
    """The axes and sizes after one operation; `given` are the sizes that the next one says it had, if it does."""
    name, rank = node.name(), len(axes)
    if name.startswith("Unsqueeze"):
        at = axis_of(node._saved_dim, rank + 1)
        return [*axes[:at], None, *axes[at:]], (*sizes[:at], 1, *sizes[at:])
    if name.startswith("Transpose"):
        order = list(range(rank))
        one, other = axis_of(node._saved_dim0, rank), axis_of(node._saved_dim1, rank)
        order[one], order[other] = other, one
    elif name.startswith("Permute"):
        order = [axis_of(dim, rank) for dim in node._saved_dims]
    elif name.startswith(("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Expand")):
        return _viewed(axes, sizes, given)
    else:
        return axes, sizes
    return [axes[k] for k in order], tuple(sizes[k] for k in order)


def _viewed(axes: Axes, sizes: tuple[int, ...], given: tuple[int, ...] | None) -> tuple[Axes | None, Any]:
    """The axes after a view to other sizes: the same but for axes of one element, or the first ones made one."""
    if given is None:
        return None, sizes
    if given == sizes:
        return axes, given
    long = [(axis, size) for axis, size in zip(axes, sizes, strict=True) if size != 1]
    if tuple(size for _, size in long) == tuple(size for size in given if size != 1):
        ahead = iter(long)
        return [next(ahead)[0] if size != 1 else None for size in given], given
    if len(given) == 3 and len(long) >= 2 and given[1:] == tuple(size for _, size in long[-2:]):
        return [None, *(axis for axis, _ in long[-2:])], given
    if len(given) == 3 and len(sizes) >= 2 and given[1:] == sizes[-2:]:
        return [None, *axes[-2:]], given
    return None, given


def _is_product(node: Any) -> bool:
    """Is it a product of two computed tensors, scaled or masked?"""
    for _ in range(_DEEPEST):
        if node is None:
            return False
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if node.name() == "BmmBackward0":
            return len(parents) == 2
        masks = node.name().startswith(("MaskedFill", "Where", *_BETWEEN)) and len(parents) == 1
        node = parents[0] if masks else affine_parent(node)
    return False


def nearest_parameter(node: Any) -> Tensor | None:
    """The first parameter met on the way back from here: that of the layer it comes after."""
    level, seen = [node], {node}
    for _ in range(24):
        below = [parent for one in level for parent, _ in one.next_functions if parent is not None]
        for parent in below:
            leaf = getattr(parent, "variable", None)
            if isinstance(leaf, Tensor):
                return leaf
        level = [parent for parent in dict.fromkeys(below) if parent not in seen]
        seen.update(level)
    return None
