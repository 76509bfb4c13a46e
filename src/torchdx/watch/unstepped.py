"""Optimizers that are made, whose parameters get gradients, and that never take a step."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchdx.watch.models import Models
from torchdx.watch.optimizers import Optimizers
from torchdx.watch.outputs import Outputs
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, sample

PASSES = 10
"""Backward passes after which, in a run without a step, it is looked whether there are gradients."""

MOST = 16
"""Optimizers followed."""
_SAMPLE = 64


class _Waiting:
    """An optimizer that has not taken a step yet, and the looks at which each of its parameters had a gradient."""

    def __init__(self, optimizer: Optimizer, place: Place | None) -> None:
        self.ref = weakref.ref(optimizer)
        self.cls, self.place = type(optimizer).__name__, place
        self.key, self.moved = id(optimizer), False
        self.first = _first_value(optimizer)
        self.calls: Counter[int] = Counter()
        self.held = {id(p): _first_of(p) for p in _held(optimizer)}
        self.gradients = 0
        self.looks: list[int] = []
        self.numbers: list[int] = []
        self.values: Tensor | None = None


class Unstepped:
    """Follows optimizers from their making to their first step, and tells in the end of those that took none."""

    def __init__(self, session: Session, models: Models, optimizers: Optimizers, outputs: Outputs) -> None:
        self.session = session
        self.models = models
        self.optimizers = optimizers
        outputs.at_untrained_call = self._called
        self._waiting: list[_Waiting] = []
        self._passes = 0
        session.weave(Optimizer.__init__, after=self._made)
        session.weave(torch.autograd.backward, after=self._passed)
        session.at_look_end.append(self._looks)
        session.at_end.append(self._tells)

    def _made(self, _: None, optimizer: Optimizer, *__: Any) -> None:
        self._forgets()
        if len(self._waiting) < MOST:
            self._waiting.append(_Waiting(optimizer, user_place(2, skip_constructor_of=optimizer)))

    def _called(self, module: nn.Module) -> None:
        """A layer is used before any step: are its weights an optimizer's, as they were when that was made?"""
        held = [parameter for parameter in module._parameters.values() if parameter is not None]
        for waiting in self._waiting:
            for parameter in held:
                if id(parameter) in waiting.held:
                    filled = self._passes < PASSES and self.models.is_filled(parameter)  # later: the best are put back
                    waiting.moved |= filled or _first_of(parameter) != waiting.held[id(parameter)]
                    waiting.calls[id(parameter)] += 1

    def _forgets(self) -> None:
        stepped = self.optimizers.stepped
        self._waiting = [waiting for waiting in self._waiting if stepped.get(waiting.key) is not waiting.ref]

    def _looks(self) -> None:
        self._forgets()
        for waiting in self._waiting:
            optimizer = waiting.ref()
            held = _held(optimizer)
            if held and all(p.grad is not None and is_plain(p) for p in held) and held[0].device.type == "cpu":
                waiting.looks.append(self.session.step)
                waiting.numbers = waiting.numbers or [self.models.parameter_number(p) for p in held]
                now = sample(held[0], _SAMPLE).clone()
                waiting.moved |= waiting.values is not None and not bool((now == waiting.values).all())
                waiting.values = now

    def _tells(self) -> None:
        if not self.session.step:
            self._tells_that_nothing_stepped()
            return
        self._looks()  # once more at the end: of the first steps, others may take all
        for waiting in self._waiting:
            if waiting.looks:
                span = waiting.looks[-1] - waiting.looks[0]
                told = {"looks": len(waiting.looks), "span": span, "moved": waiting.moved, "params": waiting.numbers}
                self.session.write("unstepped", cls=waiting.cls, site=waiting.place, **told)

    def _passed(self, *_: Any) -> None:
        """Of a run without a step, look once, after some backward passes: at the end all of it may be gone."""
        if self.session.step:
            return
        self._passes += 1
        if self._passes == PASSES:
            for waiting in self._waiting:
                optimizer = waiting.ref()
                if optimizer is not None and waiting.first is not None:
                    now = _first_value(optimizer)
                    waiting.moved = now is None or not torch.equal(now, waiting.first)
                    waiting.gradients = sum(p.grad is not None for p in _held(optimizer))

    def _tells_that_nothing_stepped(self) -> None:
        self._forgets()
        for waiting in self._waiting:
            calls = max(waiting.calls.values(), default=0)
            told = {"passes": self._passes, "gradients": waiting.gradients, "moved": waiting.moved, "calls": calls}
            self.session.write("untrained", cls=waiting.cls, site=waiting.place, **told)


def _held(optimizer: Optimizer | None) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]] if optimizer is not None else []


def _first_value(optimizer: Optimizer) -> Tensor | None:
    """Some values of the first parameter that it holds, where they can be read at once."""
    first = next(iter(_held(optimizer)), None)
    return (
        sample(first, _SAMPLE).clone() if first is not None and is_plain(first) and first.device.type == "cpu" else None
    )


def _first_of(parameter: Tensor) -> float | None:
    """Its first value, where it can be read at once."""
    if not is_plain(parameter) or parameter.device.type != "cpu" or not parameter.numel():
        return None
    return float(parameter.detach()[(0,) * parameter.dim()])
