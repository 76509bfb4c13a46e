"""Run a training script with Cockpit's "economy" configuration around every backward pass.

python with_cockpit.py INTERVAL SCRIPT [ARGUMENTS]

As its first example does: model and loss are extended by BackPACK, and the losses of single samples are computed beside
the mean. Its plots are left out. A loss called as a function becomes the module of the same meaning, which is all that
BackPACK can extend.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from attaching import become, on_backward, on_optimizer
from backpack import extend
from cockpit import Cockpit
from cockpit.utils import schedules
from cockpit.utils.configuration import configuration
from torch import nn
from torch.nn.modules.loss import _Loss


class Watch:
    """A cockpit, and what the loop it sits in would hand to it at each step."""

    def __init__(self, interval: int) -> None:
        self.interval, self.step = interval, 0
        self.batch = 0
        self.losses: torch.Tensor | None = None
        self.own = False

    def start(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Extend the model; have the cockpit of its parameters."""
        quantities = configuration("economy", track_schedule=schedules.linear(interval=self.interval))
        self.cockpit = Cockpit(extend(model).parameters(), quantities=quantities)
        self.optimizer = optimizer
        model.register_forward_pre_hook(self.see_batch)

    def see_batch(self, model: nn.Module, inputs: Any) -> None:
        """Note how many samples there are."""
        self.batch = len(inputs[0])

    def extend_losses(self) -> None:
        """Have every loss extended that the program makes, and its single losses computed whenever it is called."""
        make, cross_entropy = _Loss.__init__, nn.functional.cross_entropy

        def making(loss: _Loss, *args: Any, **kwargs: Any) -> None:
            make(loss, *args, **kwargs)
            if loss.reduction == "mean":
                extend(loss).register_forward_hook(self.see_losses)

        _Loss.__init__ = making  # type: ignore[assignment, method-assign]
        as_module = nn.CrossEntropyLoss()

        def calling(*args: Any, **kwargs: Any) -> torch.Tensor:
            if len(args) > 2 or kwargs:  # this call comes from within a module
                return cross_entropy(*args, **kwargs)
            loss: torch.Tensor = as_module(*args)
            return loss

        nn.functional.cross_entropy = calling

    def see_losses(self, loss: _Loss, inputs: Any, output: torch.Tensor) -> None:
        """Compute the loss of each sample."""
        singly = type(loss)(reduction="none")
        self.losses = singly(*inputs).detach().view(self.batch, -1).mean(1)

    def go(self, backward: Any, loss: torch.Tensor) -> None:
        """Go back under the cockpit."""
        told = {
            "batch_size": self.batch,
            "individual_losses": self.losses,
            "loss": loss,
            "optimizer": self.optimizer,
        }
        with self.cockpit(self.step, info=told):
            backward(loss, create_graph=self.cockpit.create_graph(self.step))
        self.step += 1


def main() -> None:
    """Attach it, and become the script."""
    interval, *command = sys.argv[1:]
    watch = Watch(int(interval))
    watch.extend_losses()
    on_optimizer(watch.start)
    on_backward(watch.go)
    become(command)
    watch.cockpit.write(str(Path.cwd() / "cockpit"))


if __name__ == "__main__":
    main()
