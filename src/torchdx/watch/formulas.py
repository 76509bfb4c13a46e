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
    if exponential is not None and len(squares) == 1 and _is_taken_of(exponential, terms):
        return _usable(_saved(squares[0], "_saved_self"), _saved(exponential, "_saved_result"))
    spread = next((node for node in squares if _is_taken_of(node.next_functions[0][0], terms)), None)
    if spread is not None and len(squares) == 2:
        return _of_squares(squares, spread)
    logarithm = next((node for node, _ in terms if node.name() == "LogBackward0"), None)
    if logarithm is None or len(squares) != 2:
        return None
    taken = logarithm.next_functions[0]
    spread = next((node for node in squares if node is taken[0] or node.next_functions[0] == taken), None)
    return _of_squares(squares, spread) if spread is not None else None


def _of_squares(squares: list[Any], spread: Any) -> tuple[Tensor, Tensor] | None:
    """Mean and variance, the squares of a mean and of a deviation being two of the terms."""
    deviation = _saved(spread, "_saved_self")
    mean = next((node for node in squares if node is not spread), None)
    if mean is None or deviation is None:
        return None
    return _usable(_saved(mean, "_saved_self"), deviation.square())


def _is_taken_of(node: Any, terms: list[Edge]) -> bool:
    """Is it the exponential of one of the terms, or of a multiple of one, as of twice the logarithm of a deviation?"""
    if node is None or node.name() != "ExpBackward0":
        return False
    edge = node.next_functions[0]
    for _ in range(3):
        inner = [below for below in edge[0].next_functions if below[0] is not None] if edge[0] is not None else []
        if edge in terms or not inner or edge[0].name() not in _SCALED or len(inner) > 1:
            break
        edge = inner[0]
    return edge in terms


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
