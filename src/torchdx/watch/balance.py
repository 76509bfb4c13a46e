"""Whether the terms of an objective are averaged over a batch alike, or one is summed over it and another is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from torchdx.watch.penalties import terms_of
from torchdx.watch.tensors import saved

_NODES = 100
_VIEWS = ("View", "Squeeze", "Unsqueeze", "ReshapeAlias", "UnsafeView", "ToCopy", "Clone")
_LOSSES = ("MseLoss", "BinaryCrossEntropy", "L1Loss", "SmoothL1", "Huber")
_MEAN = 1
"""What torch calls the reduction to a mean."""


class _Term(NamedTuple):
    node: Any
    factor: float
    averaged: bool


def times_too_much(root: Any, mean: Tensor) -> float | None:
    """How many times as much as per sample the divergence of Gaussians with this mean weighs, that is summed over the
    batch while another term is averaged over it; None where that is not so.
    """
    terms = list(_terms(root, len(mean)))
    squares = [term for term in terms if _is_square_of(term.node, mean)]
    averaged = [term for term in terms if term.averaged and term not in squares]
    if len(squares) != 1 or squares[0].averaged or not averaged:
        return None
    return 2 * abs(squares[0].factor) * len(mean)


def _terms(root: Any, batch: int) -> Iterator[_Term]:
    """What is added up, its factor, and whether it was averaged over so many samples, or divided by their count."""
    ahead, seen = [_Term(root, 1.0, False)], 0
    while ahead and seen < _NODES:
        node, factor, averaged = ahead.pop()
        seen += 1
        inner = terms_of(node, factor)
        if inner is not None:
            ahead += [_Term(one, own, averaged or _is_share(own / factor, batch)) for one, own in inner if factor]
            continue
        name, above = node.name(), node.next_functions[0][0] if node.next_functions else None
        if name.startswith(("SumBackward", "MeanBackward", *_VIEWS)) and above is not None:
            whole = name == "MeanBackward0" and node._saved_self_sym_sizes[:1] == (batch,)
            axes = getattr(node, "_saved_dim", ()) if name == "MeanBackward1" else ()
            first = 0 in ([axes] if isinstance(axes, int) else axes) and node._saved_self_sym_sizes[0] == batch
            ahead.append(_Term(above, factor, averaged or whole or first))
        elif name in ("AddBackward1", "RsubBackward1", "RsubBackward0", "SubBackward1") and above is not None:
            ahead.append(_Term(above, factor * (-1.0 if name[0] == "R" else 1.0), averaged))
        elif name.startswith(_LOSSES):
            yield _Term(node, factor, averaged or node._saved_reduction == _MEAN)
        else:
            yield _Term(node, factor, averaged)


def _is_share(by: float, batch: int) -> bool:
    return batch > 1 and abs(abs(by) * batch - 1) < 1e-3


def _is_square_of(node: Any, mean: Tensor) -> bool:
    kept = saved(node, "_saved_self") if node.name() in ("PowBackward0", "MulBackward0") else None
    return kept is not None and kept.shape == mean.shape and kept.data_ptr() == mean.data_ptr()
