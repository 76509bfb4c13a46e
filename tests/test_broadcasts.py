"""Pairs that a loss written by hand makes of a batch, found in its graph."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from torchdx.watch.broadcasts import spreads

Loss = Callable[[Tensor, Tensor], Tensor]

MISTAKES: dict[str, Loss] = {
    "squared error": lambda given, data: ((data - given) ** 2).mean(),
    "absolute error": lambda given, data: (given - data).abs().sum(),
    "likelihood": lambda given, data: (given.exp().log() + (data - given).square() / given.exp()).mean(),
    "cross entropy": lambda given, data: -(data * given.sigmoid().log()).mean(),
    "pinball": lambda given, data: torch.maximum(0.9 * (data - given), -0.1 * (data - given)).mean(),
}

MEANT: dict[str, Loss] = {
    "one shape": lambda given, data: ((data - given.squeeze(1)) ** 2).mean(),
    "ranking": lambda given, data: softplus(given - given.squeeze(1)).mean(),
    "asked for": lambda given, data: (given.squeeze(1).unsqueeze(1) - data).abs().mean(),
    "quantiles": lambda given, data: (given - torch.linspace(0, 1, 5)).abs().mean(),
    "all pairs of data": lambda given, data: (given - (data[:, None] * data).sin()).square().mean(),
}


def outputs_and_data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(3, 1)(torch.randn(12, 3)), torch.randn(12)


@pytest.mark.parametrize("loss", MISTAKES.values(), ids=MISTAKES)
def test_pairs_nobody_asked_for_are_found(loss: Loss) -> None:
    found = next(spreads(loss(*outputs_and_data())))
    assert set(found.shapes) == {(12, 1), (12,)}


@pytest.mark.parametrize("loss", MEANT.values(), ids=MEANT)
def test_pairs_that_are_meant_are_left_alone(loss: Loss) -> None:
    assert not list(spreads(loss(*outputs_and_data())))


def test_what_differs_less_is_told_apart() -> None:
    given, data = outputs_and_data()
    found = next(spreads(((data - 0.1 * given) ** 2).mean()))
    assert found.own == pytest.approx(0.1 * float(given.detach().std()), rel=1e-3)
    assert found.other == pytest.approx(float(data.std()), rel=1e-3)
