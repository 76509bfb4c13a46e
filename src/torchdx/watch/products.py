"""Products of vectors in an autograd graph: both sides, and how long they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdx.watch.mixtures import axis_of
from torchdx.watch.tensors import saved

LARGEST = 1_000_000
"""Elements of the largest that is measured."""

_ALIKE = 1e-3
"""Vectors' lengths, over the longest, by which they may differ and be normalised: rounding."""


def product(node: Any) -> float | None:
    """The length of the vectors of a product, times that of those they are multiplied with."""
    lengths = [_length(vectors, axis) for vectors, axis, _ in operands(node)]
    return lengths[0] * lengths[1] if lengths and lengths[0] is not None and lengths[1] is not None else None


def operands(node: Any) -> list[tuple[Tensor | None, int, Any]]:
    """Both sides of a product of vectors: the vectors, the axis they lie along, and what they come from."""
    name = node.name()
    if name in ("MmBackward0", "BmmBackward0"):
        sides = [("_saved_self", -1), ("_saved_mat2", -2)]
    elif name == "SumBackward1" and len(node._saved_dim) == 1 and node.next_functions[0][0] is not None:
        axis = axis_of(node._saved_dim[0], len(node._saved_self_sym_sizes))
        node = node.next_functions[0][0]
        if node.name() != "MulBackward0" or len(node.next_functions) != 2:
            return []
        sides = [("_saved_self", axis), ("_saved_other", axis)]
    else:
        return []
    found = []
    for (attribute, axis), (made, _) in zip(sides, node.next_functions, strict=True):
        vectors = saved(node, attribute)
        found.append((vectors if vectors is not None else normalised(made), axis, made))
    return found


def cosine(node: Any) -> Any:
    """The products of a cosine, which are divided by both lengths afterwards; None of anything else."""
    below = [made for made, _ in node.next_functions]
    if node.name() != "DivBackward0" or None in below or below[0].name() != "SumBackward1":
        return None
    sides, length = operands(below[0]), saved(node, "_saved_other")
    if length is None or length.device.type != "cpu" or len(sides) != 2 or length.numel() < 2:
        return None
    wanted = torch.ones(())
    for vectors, axis, _ in sides:
        if vectors is None or vectors.dim() < 2 or vectors.numel() > LARGEST or vectors.shape[axis] < 2:
            return None
        wanted = wanted * vectors.detach().norm(dim=axis)
    fits = wanted.numel() == length.numel() and torch.allclose(wanted.flatten(), length.detach().flatten(), rtol=_ALIKE)
    return below[0] if fits else None


def normalised(node: Any) -> Tensor | None:
    """What a division gave whose operands are kept, where only its result is not."""
    if node is None or node.name() != "DivBackward0":
        return None
    one, other = saved(node, "_saved_self"), saved(node, "_saved_other")
    return one.detach() / other.detach() if one is not None and other is not None else None


def _length(vectors: Tensor | None, axis: int) -> float | None:
    """The length of all these vectors, if it is the same for all."""
    if vectors is None or vectors.device.type != "cpu" or not vectors.is_floating_point():
        return None
    if not 1 < vectors.numel() <= LARGEST or vectors.dim() < 2 or vectors.shape[axis] < 2:
        return None
    shortest, longest = (float(end) for end in torch.aminmax(vectors.detach().float().norm(dim=axis)))
    return longest if longest > 0 and longest - shortest <= _ALIKE * longest else None
