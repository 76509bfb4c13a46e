"""Errors in an objective with a minus, or likelihoods and overlaps with a plus: what lowers it raises the errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from torchdx.watch.agreements import is_overlap
from torchdx.watch.lineage import VIEWS
from torchdx.watch.lines import Lines
from torchdx.watch.pace import Pace
from torchdx.watch.penalties import terms_of
from torchdx.watch.places import user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import number, saved

_NODES = 64
_MOST_MISSED = 32
"""Passes in a row in which nothing of this form was found, after which it is not looked for."""

_REDUCED = ("SumBackward", "MeanBackward")
_DEEP = 10
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
            good = "overlap" if node.name().startswith("Div") else "likelihood"
            self.session.write("raised", step=step + 1, site=place, **told, **({good: True} if factor > 0 else {}))
            self.lines.ask_once("raised_line", place, root, node)


def _raised(root: Any) -> tuple[Any, float] | None:
    """The first of the errors with a minus, if others have a plus or are something else."""
    terms = list(_terms(root))
    lowered = [node for node, factor in terms if factor > 0]
    for node, factor in terms:
        name = node.name()
        forgets = name.startswith(_LIKELIHOODS) and any(one.name() == name and not _agree(one, node) for one in lowered)
        if factor < 0 and len(terms) > 1 and _is_error(node) and not forgets:
            return node, factor
        if factor > 0 and (likelihood := _likelihood(node)) is not None:
            return likelihood, factor
    return next((one for one in _terms(root, turned=True) if one[1] > 0 and is_overlap(one[0])), None)


def _agree(lowered: Any, raised: Any) -> bool:
    """Do both draw the answers to one side: the answer yes that the one wants all through, and the no of the other?"""
    wants = [saved(node, "_saved_target") for node in (lowered, raised)]
    if any(want is None or want.device.type != "cpu" or not want.numel() for want in wants):
        return False
    ends = [torch.aminmax(want.detach().float()) for want in wants if want is not None]
    yes = [float(end.min) for end in ends]
    return all(bool(end.min == end.max) for end in ends) and (yes[0] > 0.5 > yes[1] or yes[0] < 0.5 < yes[1])


def _likelihood(node: Any) -> Any:
    """The logarithm of a softmax of which only chosen places are added up, as those of the right answers are."""
    picked = False
    for _ in range(_DEEP):
        if not node.next_functions:  # a weight that is a term by itself
            return None
        name, above = node.name(), node.next_functions[0][0]
        if name == "LogSoftmaxBackward0" or (name == "SubBackward0" and _is_share(node)):
            return node if picked else None
        if above is None or hasattr(above, "variable"):
            return None
        if name in ("MulBackward0", "DivBackward0"):
            other = saved(node, "_saved_other")
            if node.next_functions[1][0] is not None or other is None or other.device.type != "cpu":
                return None
            chosen = name[0] == "M" and bool(((other == 0) | (other == 1)).all()) and bool((other == 0).any())
            picked |= chosen
            if not chosen and not bool((other > 0).all()):
                return None
        elif name.startswith(("Gather", "Index")):
            if picked:  # a policy's answers, which cost something or nothing, may look so
                return None
            picked = True
        elif not name.startswith((*_REDUCED, *VIEWS)):
            return None
        node = above
    return None


def _terms(root: Any, turned: bool = False) -> Iterator[tuple[Any, float]]:
    """The terms of a sum, below their means; where `turned`, what a number less a term is made of too."""
    ahead, seen = [(root, 1.0)], 0
    while ahead and seen < _NODES:
        node, factor = ahead.pop()
        seen += 1
        less = turned and node.name() == "RsubBackward1"
        inner = [(node.next_functions[0][0], -factor)] if less else terms_of(node, factor)
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


def _is_share(node: Any) -> bool:
    """Is it x less the logarithm of the sum of exp(x), some of which may be left out?"""
    over, total = node.next_functions[0], node.next_functions[1][0]
    for _ in range(_DEEP):
        if total is None or hasattr(total, "variable"):
            return False
        name, edge = total.name(), total.next_functions[0]
        if edge == over:
            return bool(name.startswith(("Logsumexp", "Exp", "MaskedFill")))
        if not name.startswith((*VIEWS, "Logsumexp", "MaskedFill", "Log", "Sum", "Exp", "Mul", "Add")):
            return False
        total = edge[0]
    return False
