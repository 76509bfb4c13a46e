"""Backward passes whose gradients are cleared before a step has used them."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor
from torch.optim import Optimizer

from torchdx.watch.places import user_place

_SENTINELS = 2


class Passes:
    """Counts, where several backward passes of one line come before a step, those whose gradients were cleared in vain.

    Gradients that were replaced by others, or whose parameters were changed in between, have been used by hand. It is
    followed only where the step before had several passes, and while one optimizer steps.
    """

    def __init__(self) -> None:
        self._marks: list[tuple[weakref.ref[Tensor], int, int, int]] = []
        self._site = ""
        self._before = 0
        self._passes = 0
        self._lost: int | None = 0

    @property
    def several(self) -> bool:
        """Did the step before have several passes?"""
        return self._before > 1

    def forget(self) -> None:
        """Steps have been slept through, so that nothing is known."""
        self._marks, self._before, self._passes, self._lost = [], 0, 0, 0

    def begins(self) -> None:
        """A backward pass begins: is what the one before it gave gone, and was that the same line?"""
        self._passes += 1
        if not self.several:
            return
        site = str(user_place(4))
        if self._marks and self._lost is not None:
            self._lost += site == self._site and all(map(_is_cleared, self._marks))
        self._site = site

    def ended(self, optimizer: Optimizer | None) -> None:
        """A backward pass is over: remember a few of the gradients it gave."""
        if optimizer is None:
            return
        held = (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
        first = (p for p, _ in zip(held, range(_SENTINELS), strict=False))
        self._marks = [(weakref.ref(p), id(p.grad), p.grad._version, p._version) for p in first]

    def used(self, clipped: bool) -> None:
        """The optimizer is about to step: are the gradients those of the last pass, or made by hand of them all?"""
        if self._lost and not all(_is_as_given(mark, clipped) for mark in self._marks):
            self._lost = None

    def told(self) -> int | None:
        """How many of the passes before this step were in vain; None if that is not known."""
        known, self._before = self.several, self._passes
        lost, self._lost, self._passes, self._marks = self._lost, 0, 0, []
        return lost if known else None


def _is_cleared(mark: tuple[weakref.ref[Tensor], int, int, int]) -> bool:
    """Is the gradient gone, or zero in the same place, and the parameter as it was?"""
    reference, identity, version, values = mark
    parameter = reference()
    if parameter is None or parameter._version != values:
        return False
    gradient = parameter.grad
    if gradient is None:
        return True
    if id(gradient) != identity or gradient._version == version or gradient.device.type != "cpu":
        return False
    return not bool(torch.count_nonzero(gradient.detach()))


def _is_as_given(mark: tuple[weakref.ref[Tensor], int, int, int], clipped: bool) -> bool:
    """Is it the very gradient that the last pass gave, but for clipping?"""
    reference, identity, version, _ = mark
    parameter = reference()
    gradient = parameter.grad if parameter is not None else None
    return gradient is not None and id(gradient) == identity and gradient._version <= version + clipped
