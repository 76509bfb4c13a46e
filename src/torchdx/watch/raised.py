"""Errors that enter an objective with a minus, so that what lowers it raises them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from torchdx.watch.lines import Lines
from torchdx.watch.pace import Pace
from torchdx.watch.penalties import terms_of
from torchdx.watch.places import user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import number

_NODES = 64
_MOST_MISSED = 32
"""Passes in a row in which nothing of this form was found, after which it is not looked for."""

_REDUCED = ("SumBackward", "MeanBackward")
_SQUARED = ("MseLossBackward", "SmoothL1LossBackward", "HuberLossBackward", "L1LossBackward")
_LIKELIHOODS = ("NllLoss", "BinaryCrossEntropy")
"""Of these a program may have one that it lowers and another that it raises on purpose, to forget."""


class Raised:
    """From time to time, looks for errors, which have a lowest value and no highest one, with a factor below zero."""

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
            found, place = _raised(root.grad_fn), user_place(2)
            if found is None:
                self._pace.missed()
                return
            self._pace.found()
            node, factor = found
            weights = hasattr(node.next_functions[0][0], "variable")
            told = {"operation": node.name(), "factor": factor, "weights": weights, "objective": number(root)}
            self.session.write("raised", step=step + 1, site=place, **told)
            self.lines.ask_once("raised_line", place, root, node)


def _raised(root: Any) -> tuple[Any, float] | None:
    """The first of the errors with a minus, if others have a plus or are something else."""
    terms = list(_terms(root))
    lowered = {node.name() for node, factor in terms if factor > 0}
    for node, factor in terms:
        name = node.name()
        forgets = name.startswith(_LIKELIHOODS) and name in lowered
        if factor < 0 and len(terms) > 1 and _is_error(node) and not forgets:
            return node, factor
    return None


def _terms(root: Any) -> Iterator[tuple[Any, float]]:
    ahead, seen = [(root, 1.0)], 0
    while ahead and seen < _NODES:
        node, factor = ahead.pop()
        seen += 1
        inner = terms_of(node, factor)
        below = node.next_functions[0][0] if inner is None and node.name().startswith(_REDUCED) else None
        if inner is None and below is None:
            yield node, factor
        else:
            ahead += inner if inner is not None else [(below, factor)]


def _is_error(node: Any) -> bool:
    """Is it never below zero, and as large as the answers are wrong?"""
    below = node.next_functions
    if node.name() == "PowBackward0":
        return bool(node._saved_exponent == 2)
    if node.name() == "MulBackward0":
        return len(below) == 2 and below[0][0] is not None and below[0] == below[1]
    return node.name().startswith((*_SQUARED, *_LIKELIHOODS)) and below[0][0] is not None
