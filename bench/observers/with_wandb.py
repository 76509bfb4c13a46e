"""Run a training script with `wandb.watch` on its model and its loss logged at every step, offline.

python with_wandb.py LOG_FREQ SCRIPT [ARGUMENTS]
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import wandb
from attaching import become, on_backward, on_optimizer
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook


def main() -> None:
    """Attach it as its manual does, and become the script."""
    frequency, *command = sys.argv[1:]
    losses: list[torch.Tensor] = []

    def start(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        wandb.watch(model, log="all", log_freq=int(frequency))
        register_optimizer_step_post_hook(log)

    def go(backward: Any, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        losses[:] = [loss]
        backward(loss, *args, **kwargs)

    def log(*_: Any) -> None:
        wandb.log({"loss": losses[0].item()})

    with wandb.init(project="beside", mode="offline"):
        on_optimizer(start)
        on_backward(go)
        become(command)


if __name__ == "__main__":
    main()
