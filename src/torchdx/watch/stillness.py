"""Parameters that a step does not move though they have a gradient, or that are put back after every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from torchdx.watch.models import Models
from torchdx.watch.tensors import sample

KEPT = 0.5
"""Share of a sample that a step left alone from which on it is asked, at the next look, whether it had a gradient."""

FIRST = 64
"""Parameters whose values at their first look are kept, to see whether later steps start from them again."""


class Stillness:
    """Compares the samples of parameters before and after a step with each other, and with those at first."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self._suspected: set[str] = set()
        self._first: dict[int, Tensor] = {}
        self._moved: set[str] = set()
        self._numbers: list[int] = []
        self._pulled: dict[int, Tensor] = {}

    def before(self, optimizer: Optimizer, chosen: Sequence[Tensor]) -> None:
        """Where the gradients are not zero, of parameters that a step seemed to leave alone."""
        self._numbers = [self.models.parameter_number(p) for p in chosen]
        self._pulled = {}
        asked = [k for k, number in enumerate(self._numbers) if str(number) in self._suspected]
        if asked:
            resting = {id(p) for group in optimizer.param_groups if _rests(group.get("lr")) for p in group["params"]}
            asked = [k for k in asked if id(chosen[k]) not in resting]
            self._pulled = {k: sample(g) != 0 for k in asked if (g := chosen[k].grad) is not None}

    def after(self, values: Tensor, now: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each parameter: the share left alone, that of those with a gradient, and is it as it was at first?

        -1 where it was not asked.
        """
        same = now == values
        idle, back = torch.full_like(values[:, 0], -1.0), torch.full_like(values[:, 0], -1.0)
        for k, pulled in self._pulled.items():
            idle[k] = torch.where(pulled.any(), (same[k] & pulled).sum() / pulled.sum(), -1.0)
        for k, number in enumerate(self._numbers):
            known = self._first.get(number)
            if known is not None and known.device == values.device:
                back[k] = (known == values[k]).all()
            elif known is None and len(self._first) < FIRST:
                self._first[number] = values[k].clone()
        return same.float().mean(1), idle, back

    def told(self, numbers: Sequence[str], table: Sequence[Sequence[float]]) -> dict[str, Any]:
        """What is worth writing down: `still` (id to share) and `restored` (ids); empty in almost every run."""
        still, restored = {}, []
        for number, (kept, idle, back) in zip(numbers, table, strict=True):
            (self._suspected.add if kept > KEPT else self._suspected.discard)(number)
            if idle >= 0:
                still[number] = round(idle, 4)
            if back == 1 and number in self._moved:
                restored.append(int(number))
            if kept < 1:
                self._moved.add(number)
        told: dict[str, Any] = {"still": still} if still else {}
        return told | ({"restored": restored} if restored else {})


def _rests(rate: object) -> bool:
    return isinstance(rate, float | int) and rate == 0
