"""Where the first NaN or infinity came from, told from an autograd graph."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from torchdx.watch.clearing import Clearing
from torchdx.watch.origin import first_nonfinite, node_at, position


def told(loss: Tensor) -> tuple[str, str | None]:
    origin, _, _ = first_nonfinite(loss)
    return origin["cause"], origin["operation"]


@pytest.mark.parametrize(
    ("make", "operation"),
    [
        (lambda x: torch.log(torch.relu(x)).sum(), "Log"),
        (lambda x: torch.log1p(-torch.ones_like(x) + 0 * x).sum(), "Log1P"),
        (lambda x: (x / torch.relu(x)).sum(), "Div"),
        (lambda x: torch.exp(100 * x.abs() + 1).sum(), "Exp"),
        (lambda x: torch.sqrt(x - 10).sum(), "Sqrt"),
        (lambda x: ((x * 1e30) ** 2).mean(), "Pow"),
        (lambda x: x[:1, :1].std(), "Std"),
        (lambda x: torch.relu(1e38 * x @ x.T * 1e3).sum(), "Mul"),
    ],
)
def test_operation_that_broke(make: Callable[[Tensor], Tensor], operation: str) -> None:
    x = torch.tensor([[1.0, -2.0], [3.0, 0.5]], requires_grad=True)
    loss = make(nn.Identity()(x) * 1.0)
    assert not torch.isfinite(loss)
    assert told(loss) == ("operation", operation)


def test_division_by_values_around_zero_is_not_blamed() -> None:
    x = torch.tensor([-1.0, 1.0], requires_grad=True)
    loss = (x / (2 * x)).sum() + torch.log(x - 1).sum()
    assert told(loss) == ("operation", "Log")


def test_layer_before_it() -> None:
    layer = nn.Linear(2, 2)
    loss = torch.log(torch.relu(layer(torch.ones(1, 2)) * 0)).sum()
    origin, node, parameters = first_nonfinite(loss)
    assert (origin["min"], origin["max"]) == (0.0, 0.0)
    assert any(p is layer.bias for p in parameters)
    again = torch.log(torch.relu(layer(torch.ones(1, 2)) * 0)).sum()
    assert node_at(again, position(loss, node), "Log") is not None
    assert node_at(again, position(loss, node), "Exp") is None


def test_spoilt_weights_come_first() -> None:
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(torch.nan)
    loss = torch.sqrt(layer(torch.ones(1, 2)).square().sum())
    origin, _, _ = first_nonfinite(loss)
    assert (origin["cause"], origin["operation"], origin["nonfinite_parameters"]) == ("weights", "Sqrt", 1)


@pytest.mark.parametrize("layer", [nn.Linear(2, 1), nn.Linear(2, 1, bias=False)])
def test_spoilt_input(layer: nn.Linear) -> None:
    loss = nn.functional.mse_loss(layer(torch.tensor([[1.0, torch.nan]])), torch.zeros(1, 1))
    assert told(loss)[0] == "input"


def test_spoilt_target() -> None:
    loss = nn.functional.mse_loss(nn.Linear(2, 1)(torch.ones(1, 2)), torch.tensor([[torch.nan]]))
    assert told(loss)[0] == "input"


def test_masked_logits_are_not_blamed() -> None:
    logits = torch.zeros(2, 3, requires_grad=True) + torch.tensor([0.0, 0.0, -torch.inf])
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1])) + torch.log(torch.relu(-logits[0, 0].exp()))
    assert told(loss) == ("operation", "Log")


def step(clearing: Clearing, optimizer: torch.optim.Optimizer, index: int = 0) -> bool | None:
    """A backward pass and a step, as the watcher follows them."""
    clearing.before_backward()
    sum((p * p).sum() for g in optimizer.param_groups for p in g["params"]).backward()
    optimizer.step()
    cleared = clearing.told(index)
    clearing.mark(index, optimizer)
    return cleared


@pytest.mark.parametrize("to_none", [True, False])
def test_cleared_gradients(to_none: bool) -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    clearing = Clearing()
    assert step(clearing, optimizer) is None
    for _ in range(3):
        optimizer.zero_grad(set_to_none=to_none)
        assert step(clearing, optimizer) is True


def test_gradients_left_as_they_were() -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    clearing = Clearing()
    step(clearing, optimizer)
    assert [step(clearing, optimizer) for _ in range(3)] == [False] * 3


@pytest.mark.parametrize("to_none", [True, False])
def test_optimizers_that_take_turns(to_none: bool) -> None:
    first, second = (torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1) for _ in range(2))
    clearing = Clearing()
    seen = []
    for _ in range(3):
        first.zero_grad(set_to_none=to_none)
        seen.append(step(clearing, first, 0))
        second.zero_grad(set_to_none=to_none)
        seen.append(step(clearing, second, 1))
    assert seen == [None, None, True, True, True, True]


def test_forgotten_steps_tell_nothing() -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    clearing = Clearing()
    step(clearing, optimizer)
    clearing.forget()
    assert step(clearing, optimizer) is None
