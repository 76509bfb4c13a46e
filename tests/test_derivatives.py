"""Functions of autograd written by hand are tried against difference quotients, where that can be no one's intent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, sigmoid

from torchdx.watch.derivatives import tried

Both = tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]

WRONG: dict[str, Both] = {
    "of another activation": (lambda x: x * sigmoid(x), lambda x, g: g * sigmoid(x) * (1 - sigmoid(x))),
    "square left out": (torch.tanh, lambda x, g: g * (1 - torch.tanh(x))),
    "product rule left out": (lambda x: x * sigmoid(x), lambda x, g: g * sigmoid(x)),
}

MEANT: dict[str, Both] = {
    "right": (lambda x: x * sigmoid(x), lambda x, g: g * sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "clamped": (sigmoid, lambda x, g: (g * sigmoid(x) * (1 - sigmoid(x))).clamp(-0.1, 0.1)),
    "scaled": (sigmoid, lambda x, g: 0.1 * g * sigmoid(x) * (1 - sigmoid(x))),
    "straight through": (torch.round, lambda x, g: g),
    "straight through a curve": (torch.tanh, lambda x, g: g),
    "stand-in": (lambda x: (x > 0).to(x.dtype), lambda x, g: g / (1 + x.abs()) ** 2),
    "reversed": (lambda x: x.view_as(x), lambda x, g: -g),
    "across numbers": (lambda x: x.softmax(-1), lambda x, g: g * x),
}


def told(both: Both) -> dict[str, float] | None:
    forward_, backward_ = both

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return forward_(x)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return backward_(ctx.saved_tensors[0], grads[0])

    torch.manual_seed(0)
    return tried(Own, (0.3 * torch.randn(16, 8),))


def is_other(found: dict[str, float] | None) -> bool:
    from torchdx.rules.gradients.backward_ignores_gradient import CURVED, FLAT, RIGHT, SCALED

    return (
        found is not None
        and (found["curved"] >= CURVED and found["right"] <= RIGHT)
        and (found["scaled"] >= SCALED and found["flat"] >= FLAT)
    )


@pytest.mark.parametrize("both", WRONG.values(), ids=WRONG)
def test_the_derivative_of_something_else_is_told(both: Both) -> None:
    assert is_other(told(both))


@pytest.mark.parametrize("both", MEANT.values(), ids=MEANT)
def test_what_is_right_or_meant_is_left_alone(both: Both) -> None:
    assert not is_other(told(both))
