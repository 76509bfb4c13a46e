"""Likelihoods whose terms pull in one direction, found in the graph, and those that hold each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from torchdx.watch.floors import falling

Loss = Callable[[Tensor, Tensor], Tensor]

FALLING: dict[str, Loss] = {
    "variance for precision": lambda errors, u: (u + errors.square() * u.exp()).mean(),
    "minus before the logarithm": lambda errors, u: _of_deviation(errors, softplus(u), -1.0),
    "likelihood, not its negative": lambda errors, u: -(u / 2 + 0.5 * errors.pow(2) * torch.exp(-u)).sum(),
    "square of the product": lambda errors, u: ((errors * u.exp()) ** 2 + 2 * u).mean(),
    "turned round, scaled twice": lambda errors, u: (
        0.5 * ((errors * (-(2 * u)).exp()).flip(0) ** 2).sum() - (2 * u).sum()
    ).mean(),
}

HELD: dict[str, Loss] = {
    "likelihood": lambda errors, u: 0.5 * (u + errors.square() * torch.exp(-u)).mean(),
    "deviation": lambda errors, u: _of_deviation(errors, softplus(u) + 1e-4, 1.0),
    "divergence": lambda errors, u: -0.5 * (1 + u - errors.pow(2) - u.exp()).sum(),
    "counts": lambda errors, u: (3.0 * u.exp() - (errors.detach().abs() + 1) * u).mean(),
    "turned round, scaled twice": lambda errors, u: (
        0.5 * ((errors * (-(2 * u)).exp()).flip(0) ** 2).sum() + (2 * u).sum()
    ).mean(),
    "prior": lambda errors, u: (u + errors.square() * u.exp() + u.square()).mean(),
}


def _of_deviation(errors: Tensor, deviation: Tensor, sign: float) -> Tensor:
    return (sign * deviation.log() + 0.5 * (errors / deviation) ** 2).mean()


def errors_and_scale() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    mean, scale = nn.Linear(3, 2)(torch.randn(12, 3)).unbind(1)
    return torch.randn(12) - mean, scale


@pytest.mark.parametrize("loss", FALLING.values(), ids=FALLING)
def test_what_falls_for_ever_is_found(loss: Loss) -> None:
    assert list(falling(loss(*errors_and_scale())))


@pytest.mark.parametrize("loss", HELD.values(), ids=HELD)
def test_what_is_held_is_left_alone(loss: Loss) -> None:
    assert not list(falling(loss(*errors_and_scale())))
