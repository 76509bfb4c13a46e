"""Figures that a program works out itself while its model is in evaluation mode: `((y - f(x)) ** 2).mean().item()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.models import Models
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import DENSE, Session
from torchdx.watch.tensors import is_plain

_TAKERS = ("item", "__float__")
_MOST = 32
"""Figures taken note of in one evaluation: a longer one is known by its first ones, the same ones each time."""
_MOST_PLACES = 4


class Scored:
    """Tells the mean of the numbers that are taken out of tensors in each evaluation, by place.

    The two methods that take a number out are of C and cannot be woven into. Others stand in for them from the moment
    a model in use is put into evaluation mode until it is put back, a number with a graph is taken, or enough have been
    seen; in training torch is as it was.
    """

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._on = False
        self._evaluations = 0
        self._left = 0
        self._seen: dict[str, tuple[Place, list[float]]] = {}
        self._takes = session.guarded(self._taken)
        session.weave_bare(nn.Module.train, self._switched)
        session.at_end.append(self._ends)

    def _switched(self, _: Any, module: nn.Module, mode: bool = True, *__: Any) -> None:
        if mode:
            if self._on:
                self._ends()
        elif not self._on and self._is_evaluated(module):
            self._begins()

    def _is_evaluated(self, module: nn.Module) -> bool:
        """Is it a model that has been trained, and not just a part of one?"""
        free = self.session.step and self.session.active and not self.session.compiled
        return bool(free) and self.models.known_number(module) is not None and self.models.is_root(module)

    def _begins(self) -> None:
        self._ends()
        self._evaluations += 1
        stride = max(1, self._evaluations // DENSE)
        if self._evaluations % (1 << (stride.bit_length() - 1)) or any(name in Tensor.__dict__ for name in _TAKERS):
            return
        self._on, self._left = True, _MOST
        for name in _TAKERS:
            setattr(Tensor, name, _standing_in(getattr(torch._C.TensorBase, name), self._takes))

    def _taken(self, tensor: Tensor, value: Any) -> None:
        self._left -= 1
        if tensor.requires_grad or self._left <= 0:
            self._stops()
        if tensor.requires_grad or not is_plain(tensor) or not tensor.is_floating_point():
            return
        place = user_place(3)
        if place is not None and (str(place) in self._seen or len(self._seen) < _MOST_PLACES):
            self._seen.setdefault(str(place), (place, []))[1].append(float(value))

    def _stops(self) -> None:
        if self._on:
            self._on = False
            for name in _TAKERS:
                delattr(Tensor, name)

    def _ends(self) -> None:
        """The evaluation is over: tell what was seen in it."""
        self._stops()
        seen, self._seen = self._seen, {}
        if not seen:
            return
        with self.session.governor.look():
            for place, values in seen.values():
                mean = sum(values) / len(values)
                self.session.write("score", step=self.session.step, site=place, count=len(values), mean=mean)


def _standing_in(takes: Callable[..., Any], tell: Callable[..., None]) -> Callable[..., Any]:
    def item(tensor: Tensor) -> Any:
        value = takes(tensor)
        tell(tensor, value)
        return value

    item.__name__ = takes.__name__
    return item
