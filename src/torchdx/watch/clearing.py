"""Whether gradients are cleared between two steps of an optimizer, told from a few of them."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

_SENTINELS = 4
_MOST = 8


@dataclass
class Mark:
    """One gradient as it was right after a step."""

    parameter: weakref.ref[Tensor]
    identity: int
    version: int

    def is_untouched(self) -> bool | None:
        """Is it the same tensor at the same version? None if its parameter is gone."""
        parameter = self.parameter()
        if parameter is None:
            return None
        return self.is_same(parameter.grad) and parameter.grad._version == self.version  # type: ignore[union-attr]

    def is_gone(self) -> bool:
        """Has it been replaced, dropped, or filled with zeros? An accelerator is not waited for, and believed."""
        parameter = self.parameter()
        gradient = parameter.grad if parameter is not None else None
        if gradient is None or not self.is_same(gradient) or gradient.device.type != "cpu":
            return True
        return not bool(torch.count_nonzero(gradient.detach()))

    def is_same(self, gradient: Tensor | None) -> bool:
        return gradient is not None and id(gradient) == self.identity


class Clearing:
    """Follows each optimizer's gradients from one of its steps to its next.

    At the first backward pass after a step, a gradient that is the same tensor at the same version has been left as it
    was. Later passes may yet find it cleared: optimizers that take turns clear theirs when it is their turn.
    """

    def __init__(self) -> None:
        self._marks: dict[int, list[Mark]] = {}
        self._cleared: dict[int, bool] = {}

    def mark(self, index: int, optimizer: Optimizer) -> None:
        """Remember a few of an optimizer's gradients, as they are right after its step."""
        self._cleared.pop(index, None)
        marks = self._marks[index] = []
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None:
                    marks.append(Mark(weakref.ref(parameter), id(gradient), gradient._version))
                    if len(marks) == _SENTINELS:
                        return

    def forget(self) -> None:
        """Steps have been slept through, so that nothing is known."""
        self._marks.clear()
        self._cleared.clear()

    def before_backward(self) -> None:
        """See which optimizers' gradients have been cleared."""
        for index, marks in list(self._marks.items())[-_MOST:]:
            known = self._cleared.get(index)
            if known is None:
                states = [state for mark in marks if (state := mark.is_untouched()) is not None]
                if states:
                    self._cleared[index] = not all(states)
            elif not known:
                self._cleared[index] = any(mark.is_gone() for mark in marks)

    def told(self, index: int) -> bool | None:
        """Have this optimizer's gradients been cleared since its last step? None if that cannot be told."""
        return self._cleared.pop(index, None)
