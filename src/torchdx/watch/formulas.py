"""Formulas found again in an autograd graph: a Gaussian's divergence from the standard one, however it is written."""

from __future__ import annotations

from typing import Any, TypeAlias

from torch import Tensor

from torchdx.watch.tensors import saved

Edge: TypeAlias = tuple[Any, int]

_NODES = 400
_TERMS = 12
_SUMS = ("AddBackward0", "SubBackward0", "NegBackward0", "RsubBackward1", "RsubBackward0")
_SCALED = ("MulBackward0", "DivBackward0")


def gaussian_in(root: Any) -> tuple[Tensor, Tensor] | None:
    """Mean and variance of a Gaussian whose divergence from the standard one is among the terms of this graph.

    It is m^2 + v - log(v), whatever the signs and constants: with v = exp(l), the terms are a square, an exponential
    and what it is taken of; with v = s^2, two squares and a logarithm of s or of its square.
    """
    queue, seen = [root], {root}
    for node in queue:
        if len(queue) > _NODES:
            break
        if node.name() in _SUMS and (found := _gaussian(_terms(node))) is not None:
            return found
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen and not hasattr(parent, "variable"):
                seen.add(parent)
                queue.append(parent)
    return None


def _terms(node: Any) -> list[Edge]:
    """What is added up, seen through signs and constant factors."""
    terms: list[Edge] = []
    ahead: list[Edge] = [(node, 0)]
    while ahead and len(terms) + len(ahead) <= _TERMS:
        one, place = ahead.pop()
        inner = [edge for edge in one.next_functions if edge[0] is not None]
        if one.name() in _SUMS or (one.name() in _SCALED and len(inner) == 1):
            ahead += inner
        else:
            terms.append((one, place))
    return [] if ahead else terms


def _gaussian(terms: list[Edge]) -> tuple[Tensor, Tensor] | None:
    if len(terms) != 3:
        return None
    squares = [node for node, _ in terms if _is_square(node)]
    exponential = next((node for node, _ in terms if node.name() == "ExpBackward0"), None)
    if exponential is not None and len(squares) == 1 and exponential.next_functions[0] in terms:
        return _usable(_saved(squares[0], "_saved_self"), _saved(exponential, "_saved_result"))
    logarithm = next((node for node, _ in terms if node.name() == "LogBackward0"), None)
    if logarithm is None or len(squares) != 2:
        return None
    taken = logarithm.next_functions[0]
    spread = next((node for node in squares if node is taken[0] or node.next_functions[0] == taken), None)
    if spread is None:
        return None
    deviation = _saved(spread, "_saved_self")
    mean = next(node for node in squares if node is not spread)
    return _usable(_saved(mean, "_saved_self"), deviation.square() if deviation is not None else None)


def _is_square(node: Any) -> bool:
    if node.name() == "PowBackward0":
        return bool(node._saved_exponent == 2)
    both = node.next_functions
    return node.name() == "MulBackward0" and len(both) == 2 and both[0][0] is not None and both[0] == both[1]


def _saved(node: Any, name: str) -> Tensor | None:
    kept = saved(node, name)
    computed = node.next_functions[0][0]
    return kept.detach() if kept is not None and not hasattr(computed, "variable") else None


def _usable(mean: Tensor | None, variance: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """Both, where they are of a batch of samples, and not of weights."""
    if mean is None or variance is None or mean.shape != variance.shape or mean.dim() < 2 or mean.shape[0] < 2:
        return None
    return (mean, variance) if mean.numel() <= 200_000 else None
