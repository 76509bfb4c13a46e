"""Weights that a program moves itself, `p -= lr * p.grad`: seen as an optimizer that holds what its losses reach."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.clearing import Clearing
from torchdx.watch.gradients import Gradients
from torchdx.watch.models import Models
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, sample

_MOST_NODES = 4096
_MOST_LEAVES = 64
_SAMPLES = 64
_EXACT = 1e-2
"""How far a change may lie off a multiple of the gradient, over its own size, for its factor to be a learning rate."""
_ROUNDING = 1e-7
"""What float32 may round away, over the values' size."""


class Hand:
    """What stands in for an optimizer: the tensors that a program moves."""

    def __init__(self, held: list[Tensor]) -> None:
        self._held = [weakref.ref(p) for p in held]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": [p for ref in self._held if (p := ref()) is not None]}]


class ByHand:
    """Watches looked-at backward passes of a program without an optimizer, and what is changed until the next.

    Only where two passes in a row reach the very same tensors, and these were changed in between, is it told; where a
    later pass reaches others, several things are trained in turn, and no more is told.
    """

    def __init__(self, session: Session, models: Models, gradients: Gradients, clearing: Clearing) -> None:
        self.session = session
        self.models = models
        self.gradients = gradients
        self.clearing = clearing
        self._hand: Any = None
        self._told = self._off = False
        self._ids: list[int] = []
        self._before: list[tuple[Tensor, Tensor, Tensor]] = []
        self._place: Place | None = None

    def passed(self, root: Tensor | None) -> None:
        """A looked-at backward pass is over: take samples of what it reached."""
        self._before = []
        if self._off or root is None:
            return
        leaves = _leaves(root)
        ids = [id(p) for p in leaves]
        if not leaves or (self._told and ids != self._ids):
            self._off = self._told
            return
        if ids != self._ids:
            self._hand, self._ids = Hand(leaves), ids
        for p in leaves:
            self.models.parameter_number(p)
        self._place = user_place(4)
        self.gradients.before(self._hand, 0)
        self.clearing.mark(0, self._hand)
        large = sorted(leaves, key=lambda p: -p.numel())
        usable = [p for p in large if p.grad is not None and is_plain(p) and is_plain(p.grad)]
        asked = usable[: 2 if self._told else None]
        self._before = [(p, sample(p, _SAMPLES), sample(p.grad, _SAMPLES)) for p in asked if p.grad is not None]

    def stepped(self, root: Tensor | None) -> float | None:
        """The next backward pass begins: tell what has changed, and by how much of the gradient, if that is all."""
        before, self._before = self._before, []
        changed = [not torch.equal(sample(p, _SAMPLES), value) for p, value, _ in before]
        same = root is not None and [id(p) for p in _leaves(root)] == self._ids
        if not any(changed) or self._hand is None or not same:
            self.clearing.forget()
            return None
        rate = _rate(before)
        if not self._told:
            self._tell(
                rate, [p for (p, _, g), moved in zip(before, changed, strict=True) if not moved and bool(g.any())]
            )
        self.gradients.after(self._hand, ahead=0)
        return rate

    def _tell(self, rate: float | None, left: list[Tensor]) -> None:
        """Write down what is moved; what is left alone, though it has a gradient, belongs to nobody."""
        self._told = True
        away = {id(p) for p in left}
        self.gradients.release(left)
        self._hand = Hand([p for p in self._hand.param_groups[0]["params"] if id(p) not in away])
        numbers = [self.models.parameter_number(p) for p in self._hand.param_groups[0]["params"]]
        groups = [{"lr": rate, "params": numbers}]
        site, step = self._place, self.session.step
        self.session.write("optimizer", id=0, cls="the program itself", site=site, step=step, groups=groups)


def _rate(before: list[tuple[Tensor, Tensor, Tensor]]) -> float | None:
    """The factor by which the gradient was taken off; None where something else was done as well."""
    for p, value, gradient in before:
        change, square = sample(p, _SAMPLES) - value, float(gradient.square().sum())
        if square > 0:
            rate = -float((change * gradient).sum()) / square
            off = float((change + rate * gradient).norm())
            rounding = _ROUNDING * float(value.norm())
            return rate if rate > 0 and off < _EXACT * float(change.norm()) + rounding else None
    return None


def _leaves(root: Tensor) -> list[Tensor]:
    """The tensors that a backward pass brings gradients to, in order; nothing where there are too many."""
    return found if len(found := list(_walk(root))) <= _MOST_LEAVES else []


def _walk(root: Tensor) -> Iterator[Tensor]:
    ahead: list[Any] = [root.grad_fn]
    seen: set[Any] = set()
    while ahead and len(seen) < _MOST_NODES:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None) if "AccumulateGrad" in type(node).__name__ else None
        if isinstance(leaf, Tensor):
            yield leaf
        ahead.extend(parent for parent, _ in node.next_functions)
