"""Optimizers that are made, whose parameters get gradients, and that never take a step."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from torchdx.watch.models import Models
from torchdx.watch.optimizers import Optimizers
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, sample

MOST = 16
"""Optimizers followed."""
_SAMPLE = 64


class _Waiting:
    """An optimizer that has not taken a step yet, and the looks at which each of its parameters had a gradient."""

    def __init__(self, optimizer: Optimizer, place: Place | None) -> None:
        self.ref = weakref.ref(optimizer)
        self.cls, self.place = type(optimizer).__name__, place
        self.key, self.moved = id(optimizer), False
        self.looks: list[int] = []
        self.numbers: list[int] = []
        self.values: Tensor | None = None


class Unstepped:
    """Follows optimizers from their making to their first step, and tells in the end of those that took none."""

    def __init__(self, session: Session, models: Models, optimizers: Optimizers) -> None:
        self.session = session
        self.models = models
        self.optimizers = optimizers
        self._waiting: list[_Waiting] = []
        session.weave(Optimizer.__init__, after=self._made)
        session.at_look_end.append(self._looks)
        session.at_end.append(self._tells)

    def _made(self, _: None, optimizer: Optimizer, *__: Any) -> None:
        self._forgets()
        if len(self._waiting) < MOST:
            self._waiting.append(_Waiting(optimizer, user_place(2, skip_constructor_of=optimizer)))

    def _forgets(self) -> None:
        stepped = self.optimizers.stepped
        self._waiting = [waiting for waiting in self._waiting if stepped.get(waiting.key) is not waiting.ref]

    def _looks(self) -> None:
        self._forgets()
        for waiting in self._waiting:
            optimizer = waiting.ref()
            held = [p for group in optimizer.param_groups for p in group["params"]] if optimizer is not None else []
            if held and all(p.grad is not None and is_plain(p) for p in held) and held[0].device.type == "cpu":
                waiting.looks.append(self.session.step)
                waiting.numbers = waiting.numbers or [self.models.parameter_number(p) for p in held]
                now = sample(held[0], _SAMPLE).clone()
                waiting.moved |= waiting.values is not None and not bool((now == waiting.values).all())
                waiting.values = now

    def _tells(self) -> None:
        self._looks()  # once more at the end: of the first steps, others may take all
        for waiting in self._waiting:
            if waiting.looks:
                span = waiting.looks[-1] - waiting.looks[0]
                told = {"looks": len(waiting.looks), "span": span, "moved": waiting.moved, "params": waiting.numbers}
                self.session.write("unstepped", cls=waiting.cls, site=waiting.place, **told)
