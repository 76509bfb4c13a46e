"""A model is called again on a copy only where nothing outside of it can feel that."""

from __future__ import annotations

import argparse
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from torchdx.watch.reach import is_contained

LOG: list[Any] = []
CONFIG = {"scale": 2.0}
OPTIONS = argparse.Namespace(heads=3)
COUNT = 0


def halved(x: Tensor) -> Tensor:
    return x / 2


def noted(x: Tensor) -> Tensor:
    with open("/dev/null", "a") as file:  # noqa: PTH123  (it is this name that is looked for)
        file.write("seen")
    return x


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def encode(self, x: Tensor) -> Tensor:
        return functional.relu(self.layer(x)) * CONFIG["scale"] / math.sqrt(OPTIONS.heads)

    def forward(self, x: Tensor) -> Any:
        self.latest = halved(self.layer(x))
        return self.encode(self.latest)

    def save(self, place: str) -> None:
        torch.save(self.state_dict(), place)


class Logs(Plain):
    def forward(self, x: Tensor) -> Any:
        LOG.append(x.mean())
        return self.layer(x)


class Counts(Plain):
    def forward(self, x: Tensor) -> Any:
        global COUNT
        COUNT += 1
        return self.layer(x)


class CountsInClass(Plain):
    calls = 0

    def forward(self, x: Tensor) -> Any:
        CountsInClass.calls += 1
        return self.layer(x)


class Writes(Plain):
    def encode(self, x: Tensor) -> Tensor:
        return noted(x)


class Fills(Plain):
    def forward(self, x: Tensor) -> Any:
        CONFIG["latest"] = float(x.mean())
        return self.layer(x)


class Keeps(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.activation = lambda x: LOG.append(x) or x

    def forward(self, x: Tensor) -> Any:
        return self.activation(self.layer(x))


@pytest.mark.parametrize(
    "model", [Plain(), nn.Sequential(Plain(), nn.ReLU()), nn.TransformerEncoderLayer(8, 2), nn.LSTM(2, 2)]
)
def test_code_that_only_computes_is_contained(model: nn.Module) -> None:
    assert is_contained(model)


@pytest.mark.parametrize("kind", [Logs, Counts, CountsInClass, Writes, Fills, Keeps])
def test_code_that_is_felt_outside_is_not(kind: type[nn.Module]) -> None:
    assert not is_contained(nn.Sequential(kind(), nn.ReLU()))
