"""Batch normalisation: over how many values it normalises, and how ready its running statistics are when used."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from torchdx.watch.models import Models
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain

_MOST = 32
"""Layers told of in each fact; deep nets have many that are alike."""

_FIRST = 8
"""Evaluations that are all told of; later ones whenever the steps have grown by a quarter."""

_LARGEST = 1 << 18
"""Values of a batch beyond which its variance is taken from a part of the samples."""


class Norms:
    """Sees every call of `batch_norm` at looked-at steps, and the first of each layer in an evaluation."""

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._calls: dict[int, dict[str, Any]] = {}
        self._told: dict[int, tuple[Any, ...]] = {}
        self._layers: dict[int, tuple[int, weakref.ref[_BatchNorm]]] = {}
        self._used: dict[int, dict[str, Any]] = {}
        self._evaluation = -1
        self._latest = -1
        self._evaluations = 0
        self._trains_guarded = session.guarded(self._trains)
        self._evaluates_guarded = session.guarded(self._evaluates)
        session.weave_bare(functional.batch_norm, self._called)
        session.at_look.append(self._opens)
        session.at_look_end.append(self._closes)
        session.at_end.append(self._flush)

    def _called(
        self, _: Any, given: Any, mean: Any, variance: Any, weight: Any, __: Any, training: Any, *___: Any
    ) -> None:
        if torch.is_grad_enabled():
            if self.session.looking:
                self._trains_guarded(given, mean, variance, weight, training)
        elif not training and (self._evaluation != self.session.step or id(mean) in self._layers):
            self._evaluates_guarded(given, mean, variance)

    # --- in training

    def _opens(self) -> None:
        self._calls.clear()
        self._flush()

    def _trains(self, given: Tensor, mean: Any, variance: Any, weight: Any, training: bool) -> None:
        if mean is None and weight is None:
            return
        key = id(mean if mean is not None else weight)
        call = self._calls.setdefault(key, {"batch": 0, "values": 0, "rests": False})
        if training:
            call["batch"] = max(call["batch"], given.shape[0])
            call["values"] = max(call["values"], given.numel() // max(1, given.shape[1]))
        elif mean is not None:
            call["rests"] = True
            call["untouched"] = _is_untouched(mean, variance)

    def _closes(self) -> None:
        """Write down the layers of which something is new."""
        layers: dict[str, dict[str, Any]] = {}
        for number, module in self._batch_norms() if self._calls else ():
            call = self._calls.get(id(module.running_mean)) or self._calls.get(id(module.weight))
            if call is not None and self._told.get(number) != tuple(call.values()) and len(layers) < _MOST:
                self._told[number] = tuple(call.values())
                layers[str(number)] = call
        if layers:
            self.session.write("norms", step=self.session.step, phase="train", layers=layers)
        self._calls.clear()

    def _batch_norms(self) -> Iterator[tuple[int, _BatchNorm]]:
        """Every one in the models in use, with its number."""
        for module in self.models.mode_sensitive():
            number = self.models.known_number(module)
            if number is not None and isinstance(module, _BatchNorm):
                yield number, module

    # --- in evaluation

    def _evaluates(self, given: Tensor, mean: Any, variance: Any) -> None:
        if self._evaluation != self.session.step:
            self._begin_evaluation()
        known = self._layers.pop(id(mean), None)
        if known is not None:
            number, module = known[0], known[1]()
            if module is None:
                return
            with self.session.governor.look():
                self._used[number] = _readiness(module, given, mean, variance)

    def _begin_evaluation(self) -> None:
        self._flush()
        step = self._evaluation = self.session.step
        if self._evaluations < _FIRST or step >= 1.25 * self._latest:
            self._evaluations += 1
            self._latest = step
            with self.session.governor.look():
                every = {
                    id(module.running_mean): (number, weakref.ref(module))
                    for number, module in self._batch_norms()
                    if module.running_mean is not None
                }
                self._layers = dict(list(every.items())[:_MOST])

    def _flush(self) -> None:
        """Write down how ready the statistics were in the evaluation that is over."""
        used, self._used = self._used, {}
        self._layers.clear()
        if used:
            layers = {str(number): told for number, told in used.items()}
            self.session.write("norms", step=self._evaluation, phase="eval", layers=layers)


def _is_untouched(mean: Tensor, variance: Tensor) -> bool | None:
    """Are these the very zeros and ones that statistics begin with? None where an accelerator would be waited for."""
    if mean.device.type != "cpu":
        return None
    return not bool(mean.count_nonzero()) and bool((variance == 1).all())


def _readiness(module: _BatchNorm, given: Tensor, mean: Tensor, variance: Tensor) -> dict[str, Any]:
    """How the running statistics compare to those of the batch they are used on.

    `updates` tells how often they were updated. `spread` is the median over channels of the running variance over the
    batch's, `shift` that of the distance of the means in the batch's standard deviations, `values` how many values a
    channel had.
    """
    told: dict[str, Any] = {"untouched": _is_untouched(mean, variance), "momentum": module.momentum}
    if given.device.type != "cpu" or not is_plain(given) or given.dim() < 2:
        return told
    if module.num_batches_tracked is not None:
        told["updates"] = int(module.num_batches_tracked)
    rows = given.detach()[: max(1, _LARGEST * given.shape[0] // given.numel())]
    seen, middle = torch.var_mean(rows.float().transpose(0, 1).flatten(1), dim=1, correction=0)
    alive = seen > 1e-8
    told["values"] = rows.numel() // rows.shape[1]
    if bool(alive.any()):
        told["spread"] = float((variance.float() / seen)[alive].median())
        told["shift"] = float(((mean - middle).abs() / seen.sqrt())[alive].median())
    return told
