"""Likelihoods written out in a graph that only ever fall in one direction of what they are taken of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from torchdx.watch.lines import Lines
from torchdx.watch.pace import Pace
from torchdx.watch.places import user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import saved

Edge: TypeAlias = tuple[Any, int]

_TERMS = 64
_NODES = 40
_MOST_MISSED = 32
"""Passes in a row in which nothing of this form was found, after which it is not looked for."""

_SAME = ("Mean", "Sum", "View", "Squeeze", "Unsqueeze", "ReshapeAlias", "UnsafeView", "Expand", "ToCopy", "Clone")
_PASSED = frozenset(f"{name}Backward{k}" for name in _SAME for k in range(3))
_ORDERS = ("Flip", "Transpose", "Permute", *_SAME[2:])
_CHOOSES = ("_saved_dim", "_saved_index", "_saved_start", "_saved_end")


class Term(NamedTuple):
    """One term of a sum, and the sign it is taken with."""

    edge: Edge
    sign: int


class Power(NamedTuple):
    """Errors, never below zero, times exp(rate l) or u^rate: `of` is l, or u if `log`."""

    term: Term
    of: Edge
    log: bool
    rate: float


class Floors:
    """From time to time, looks whether terms a l + b exp(c l) of an objective can pull against each other."""

    def __init__(self, session: Session, lines: Lines) -> None:
        self.session = session
        self.lines = lines
        self._pace = Pace(session, _MOST_MISSED)
        session.weave(torch.autograd.backward, before=self._backward)

    def _backward(self, tensors: Any, *_: Any) -> None:
        root = self._pace.objective(tensors)
        if root is None:
            return
        step = self.session.step
        with self.session.governor.look():
            found, place = next(falling(root), None), user_place(2)
            if found is None:
                self._pace.missed()
                return
            self._pace.found()
            self.session.write(
                "falling", step=step + 1, site=place, operation=found.term.edge[0].name(), sign=found.term.sign
            )
            self.lines.ask_once("falling_line", place, root, found.term.edge[0])


def falling(root: Tensor) -> Iterator[Power]:
    """Every product of errors and a power of u for whose sum with the logarithm of u one direction is always best.

    With a and b the signs of a log(u) + b E u^c, and E never below zero, that is so unless b > 0 and c a < 0.
    """
    terms = list(_terms((root.grad_fn, 0)))
    powers = [power for term in terms if (power := _power(term)) is not None]
    for power in powers:
        straight = [(term, rate) for term in terms for of, log, rate in [_logarithm(term)] if _is_same(power, of, log)]
        others = [term for term in terms if term is not power.term and all(term is not one for one, _ in straight)]
        slope = sum(term.sign * rate for term, rate in straight)
        if not straight or not slope or any(_holds(term.edge[0], power.of[0]) for term in others):
            continue
        if power.term.sign < 0 or power.rate * slope > 0:
            yield power


def _terms(edge: Edge) -> Iterator[Term]:
    """The terms that are added up, seen through means, signs and factors that are numbers of one sign."""
    ahead = [Term(edge, 1)]
    budget = 4 * _TERMS
    while ahead and budget:
        term, budget = ahead.pop(), budget - 1
        inner = _added(*term)
        if inner is None:
            yield term
        else:
            ahead += inner


def _added(edge: Edge, sign: int) -> list[Term] | None:
    node = edge[0]
    name, below = node.name(), list(node.next_functions)
    if name in ("AddBackward0", "SubBackward0"):
        other = -1 if (name == "SubBackward0") == (float(node._saved_alpha) > 0) else 1
        return [Term(e, sign * s) for e, s in zip(below, (1, other), strict=True) if e[0] is not None]
    if name in ("NegBackward0", "RsubBackward1"):
        return [Term(below[0], -sign)]
    if name in _PASSED:
        return [Term(below[0], sign)]
    factor = _factor(node)
    return [Term(factor[0], sign * (1 if factor[1] > 0 else -1))] if factor is not None else None


def _factor(node: Any) -> tuple[Edge, float] | None:
    """What a node multiplies by numbers of one sign, and one of these."""
    below = node.next_functions
    if node.name() not in ("MulBackward0", "DivBackward0") or sum(edge[0] is not None for edge in below) != 1:
        return None
    first = below[0][0] is not None
    numbers = saved(node, "_saved_other" if first else "_saved_self")
    if numbers is None or numbers.device.type != "cpu" or not numbers.numel() or (node.name()[0] == "D" and not first):
        return None
    low, high = (float(end) for end in torch.aminmax(numbers.detach().float()))
    by = high if low > 0 else low if high < 0 else 0.0
    if not by:
        return None
    return below[0] if first else below[1], by if node.name()[0] == "M" else 1 / by


def _power(term: Term) -> Power | None:
    """The term as errors times a power, or as the square of such a product, if it is that."""
    node, times = term.edge[0], 1.0
    if node.name() == "PowBackward0" and node._saved_exponent == 2 and node.next_functions[0][0] is not None:
        node, times = _in_order(node.next_functions[0][0]), 2.0
    below = node.next_functions
    divides = node.name() == "DivBackward0" and below[1][0] is not None
    if divides and (times == 2 or _is_positive(saved(node, "_saved_self"))):
        of, log, rate = _exponent(below[1])
        return Power(term, of, log, -rate * times)
    for edge, other in zip(below, ("_saved_other", "_saved_self"), strict=False):
        if node.name() != "MulBackward0" or edge[0] is None or edge[0].name() != "ExpBackward0":
            continue
        if times == 2 or _is_positive(saved(node, other)):
            of, log, rate = _exponent(edge)
            return Power(term, of, log, rate * times)
    return None


def _in_order(node: Any) -> Any:
    """What a square is taken of, before it was put in another order: a sum of squares does not feel that."""
    while node.name().startswith(_ORDERS) and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return node


def _exponent(edge: Edge) -> tuple[Edge, bool, float]:
    """The edge as exp(rate l), or as u^rate."""
    node = edge[0]
    if node.name() == "ExpBackward0":
        of, rate = node.next_functions[0], 1.0
        while of[0] is not None:
            scaled = _factor(of[0])
            if scaled is None and of[0].name() == "NegBackward0":
                scaled = of[0].next_functions[0], -1.0
            if scaled is None:
                break
            of, rate = scaled[0], rate * scaled[1]
        return of, False, rate
    scaled = _factor(node)
    if scaled is not None and scaled[1] > 0:
        return _exponent(scaled[0])
    if node.name() == "PowBackward0" and isinstance(node._saved_exponent, int | float):
        return node.next_functions[0], True, float(node._saved_exponent)
    return edge, True, 1.0


def _logarithm(term: Term) -> tuple[Edge, bool, float]:
    """What a term is the logarithm of, or what it is itself."""
    node = term.edge[0]
    if node.name() != "LogBackward0":
        return term.edge, False, 1.0
    of, rate = node.next_functions[0], 1.0
    if of[0] is not None and of[0].name() == "PowBackward0" and isinstance(of[0]._saved_exponent, int | float):
        of, rate = of[0].next_functions[0], float(of[0]._saved_exponent)
    return of, True, rate


def _is_same(power: Power, of: Edge, log: bool) -> bool:
    """Are both taken of one thing, be it picked from a tensor twice?"""
    if power.log != log or power.of[0] is None or of[0] is None:
        return False
    if power.of == of:
        return True
    one, other = power.of[0], of[0]
    picked = one.name() == other.name() and one.name() in ("SelectBackward0", "SliceBackward0")
    return (
        picked
        and [getattr(one, n, None) for n in _CHOOSES] == [getattr(other, n, None) for n in _CHOOSES]
        and (one.next_functions == other.next_functions)
    )


def _holds(node: Any, wanted: Any) -> bool:
    """Is one node computed from the other, nearby?"""
    ahead, seen = [node], {node}
    while ahead and len(seen) < _NODES:
        one = ahead.pop()
        if one is wanted:
            return True
        new = {parent for parent, _ in one.next_functions if parent is not None} - seen
        seen |= new
        ahead += new
    return False


def _is_positive(values: Tensor | None) -> bool:
    """Are these never below zero, and not all zero?"""
    if values is None or values.device.type != "cpu" or not values.is_floating_point() or not values.numel():
        return False
    low, high = torch.aminmax(values.detach())
    return bool(low >= 0) and bool(high > 0)
