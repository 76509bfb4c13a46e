"""Errors that a program takes by itself: `((model(x) - y) ** 2).mean()`, found again in the autograd graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional

from torchdx.watch.bounds import difference, errors, sides
from torchdx.watch.deep.route import Step, route_from
from torchdx.watch.tensors import saved

NEAR = 1e-4
"""Share by which an objective may differ from the mean of its errors and still be that: rounding."""


class Errors(NamedTuple):
    """The call of a model whose output was compared, the steps from there, what it was compared with, and how."""

    call: Any
    steps: tuple[Step, ...]
    target: Tensor
    name: str
    is_mean: bool

    @property
    def function(self) -> Callable[..., Tensor]:
        """Torch's own loss that takes the same errors."""
        found: Callable[..., Tensor] = getattr(functional, self.name)
        return found

    @property
    def arguments(self) -> tuple[Any, ...]:
        """All that this function would have been given beside the output."""
        rest = [*inspect.signature(self.function).parameters.values()][2:]
        return (self.target, *(one.default for one in rest))


def errors_in(root: Tensor, calls: Mapping[int, Any], outputs: Mapping[int, Tensor]) -> Errors | None:
    """The one place in what `backward` is called on where a call's output is compared with data, by hand."""
    found = [node for node in errors(root.grad_fn) if difference(node) is not None] if root.numel() == 1 else []
    error = saved(found[0], "_saved_self") if len(found) == 1 else None
    side = next(sides(found[0]), None) if error is not None else None
    if error is None or side is None or error.device.type != "cpu" or float(difference(found[0])._saved_alpha) != 1:
        return None
    told = route_from({number: (number, call) for number, call in calls.items()}, side[0])
    if told is None or told[0][0] not in outputs:
        return None
    (number, call), steps = told
    given = outputs[number].detach()
    for step in steps:
        given = step(given)
    if given.shape != error.shape:
        return None
    squares = not found[0].name().startswith("Abs")
    mean = float(error.detach().square().mean() if squares else error.detach().abs().mean())
    target = given - error.detach() if side[1] == 1 else given + error.detach()
    near = abs(float(root.detach()) - mean) <= NEAR * abs(mean)
    return Errors(call, steps, target, "mse_loss" if squares else "l1_loss", near)
