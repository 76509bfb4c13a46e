"""Run a training script as it stands, and get at what its author would hand to an observer in it.

The observers' manuals tell a user to write them into the loop. Here the loop stays as it is: the model is the module
whose parameters are given to the first optimizer.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

Start = Callable[[nn.Module, torch.optim.Optimizer], None]


def on_optimizer(start: Start) -> None:
    """Call `start` once, as soon as the program has made its model and the optimizer of it."""
    ask, make = nn.Module.parameters, torch.optim.Optimizer.__init__
    asked: list[nn.Module] = []

    def asking(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        asked.append(module)
        return ask(module, *args, **kwargs)

    def making(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
        make(optimizer, *args, **kwargs)
        nn.Module.parameters, torch.optim.Optimizer.__init__ = ask, make  # type: ignore[method-assign]
        start(asked[-1], optimizer)

    nn.Module.parameters, torch.optim.Optimizer.__init__ = asking, making  # type: ignore[assignment, method-assign]


def on_backward(go: Callable[..., None]) -> None:
    """Have `go(backward, loss)` called in place of every `loss.backward()`."""
    backward = torch.Tensor.backward

    def going_back(loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        go(backward, loss, *args, **kwargs)

    torch.Tensor.backward = going_back  # type: ignore[assignment, method-assign]


def become(command: Sequence[str]) -> None:
    """Run a script with its arguments as `python` would."""
    sys.argv = [*command]
    sys.path[0] = str(Path(command[0]).parent)
    runpy.run_path(command[0], run_name="__main__")
