"""Latent variables: how far the distribution that an encoder gives for each sample is from the prior."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from torchdx.watch.answers import spaced
from torchdx.watch.balance import times_too_much
from torchdx.watch.formulas import gaussian_in
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import root_of

_LARGEST = 200_000
WRITTEN_OUT = "written out"
"""Where a divergence is not computed by torch's function, but from its formula."""


class Latents:
    """Tells, from time to time until the very end, the divergence of samples' Gaussians from a fixed one, by unit."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._next: dict[str, int] = {}
        session.weave(torch.distributions.kl_divergence, after=self._diverged)
        session.weave(torch.autograd.backward, before=self._backward)

    def _backward(self, tensors: Any, *_: Any) -> None:
        """Look for the divergence where it is written out, in what the loss was computed from."""
        root = root_of(tensors)
        step = self.session.step
        if self.session.asleep or root is None or step < self._next.get(WRITTEN_OUT, 0):
            return
        if any(place != WRITTEN_OUT for place in self._next):  # it is told where it is computed
            return
        self._next[WRITTEN_OUT] = spaced(step)
        if root.device.type != "cpu" or root.grad_fn is None:
            return
        with self.session.governor.look():
            found = gaussian_in(root.grad_fn)
            if found is not None:
                times = times_too_much(root.grad_fn, found[0])
                more = {} if times is None else {"times": times, "batch": len(found[0])}
                self._tell(_of_units(*found), user_place(2), **more)

    def _tell(self, units: Tensor, place: Place | None, **more: float) -> None:
        told = {"units": units.numel(), "mean": units.mean().item(), "highest": units.max().item(), **more}
        self.session.write("latent", step=self.session.step + 1, site=place, **told)

    def _diverged(self, result: Any, given: Any, prior: Any) -> None:
        step = self.session.step
        if self.session.asleep or not isinstance(result, Tensor) or not result.requires_grad:
            return
        place = user_place(2)
        if step < self._next.get(str(place), 0):
            return
        self._next[str(place)] = spaced(step)
        with self.session.governor.look():
            units = _by_unit(_inner(given), _inner(prior))
            if units is not None:
                self._tell(units, place)


def _inner(distribution: Any) -> Any:
    return _inner(distribution.base_dist) if isinstance(distribution, Independent) else distribution


def _by_unit(given: Any, prior: Any) -> Tensor | None:
    """The mean divergence of each unit, in nats, over a batch of computed Gaussians from a prior that is one and fixed.

    A parameter's own distribution, or a prior that differs from sample to sample (an older policy), is another matter.
    """
    if not isinstance(given, Normal) or not isinstance(prior, Normal):
        return None
    mean, scale = given.loc.detach(), given.scale.detach()
    if given.loc.grad_fn is None or mean.dim() < 2 or mean.shape[0] < 2 or not 0 < mean.numel() <= _LARGEST:
        return None
    fixed = [torch.aminmax(side.detach()) for side in (prior.loc, prior.scale)]
    if mean.device.type != "cpu" or prior.loc.requires_grad or any(bool(low != high) for low, high in fixed):
        return None
    return _of_units((mean - fixed[0].min) / fixed[1].min, (scale / fixed[1].min).square())


def _of_units(mean: Tensor, variance: Tensor) -> Tensor:
    """The divergence from the standard normal distribution, of each unit."""
    variance = variance.clamp(min=torch.finfo(variance.dtype).tiny)  # exp(l) of a far negative l is 0
    divergence = 0.5 * (variance + mean.square() - 1 - variance.log())
    return divergence.reshape(-1, mean.shape[-1]).mean(0)
