"""Whether what one model makes can be like the data that another one is to tell it from."""

from __future__ import annotations

import math

from torch import Tensor

from torchdx.watch.bounds import BOUNDS, ends_in
from torchdx.watch.mixtures import nearest_parameter
from torchdx.watch.models import Models
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, sample

_KEPT = 4
"""Inputs without a graph that are remembered of each model: real ones, and made ones that were detached."""

_MOST = 64
_SLACK = 0.25
"""Share of the data's deviation by which a value may lie beyond: noise is often added to them."""


class Rivals:
    """Follows models that are given data at one time, and what a bounded activation made at another."""

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._data: dict[tuple[int, tuple[int, ...]], list[Tensor]] = {}
        self._told = 0

    def met(self, number: int, given: Tensor) -> None:
        """A model was given this, at a look."""
        if self._told >= _MOST or not is_plain(given) or given.dim() < 2 or given.device.type != "cpu":
            return
        key = number, tuple(given.shape[1:])
        if given.grad_fn is None:
            kept = self._data.setdefault(key, []) if len(self._data) < _MOST else []
            kept.append(sample(given))
            del kept[:-_KEPT]
        elif data := self._data.get(key):
            self._compare(given, data)

    def _compare(self, made: Tensor, data: list[Tensor]) -> None:
        ending = ends_in(made.grad_fn)
        name, low, high = BOUNDS.get(ending.name(), ("", -math.inf, math.inf))
        if not (math.isfinite(low) and math.isfinite(high)):
            return
        slack = [_SLACK * float(real.std(correction=0)) for real in data]
        out = [(real < low - more) | (real > high + more) for real, more in zip(data, slack, strict=True)]
        parameter = nearest_parameter(ending)
        self._told += 1
        self.session.write(
            "bound",
            step=self.session.step + 1,
            by=name,
            low=low,
            high=high,
            beyond=max(float(one.float().mean()) for one in out),
            after=self.models.parameter_number(parameter) if parameter is not None else None,
            rival=True,
        )
