"""What a program leaves behind: one digest of its weights, buffers, optimizers and random streams."""

from __future__ import annotations

import atexit
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn.modules import module as modules
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook


class Remains:
    """Keeps every parameter, buffer and optimizer that the process makes alive until it ends, and digests them then."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.tensors: list[Tensor] = []
        self.optimizers: dict[int, Optimizer] = {}
        random.seed(0)  # Python seeds it anew in every fork
        modules.register_module_parameter_registration_hook(self._registered)
        modules.register_module_buffer_registration_hook(self._registered)
        register_optimizer_step_post_hook(self._stepped)
        atexit.register(self.write)

    def _registered(self, _: Any, __: str, tensor: Tensor | None) -> None:
        if isinstance(tensor, Tensor):
            self.tensors.append(tensor)

    def _stepped(self, optimizer: Optimizer, *_: Any) -> None:
        self.optimizers[id(optimizer)] = optimizer

    def write(self) -> None:
        """Write the digest, and how much it is made of."""
        digest = hashlib.sha256()
        count = 0
        for tensor in self._all():
            digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            count += 1
        digest.update(repr((random.getstate(), numpy.random.get_state())).encode())
        self.file.write_text(f"{digest.hexdigest()} of {count} tensors", encoding="utf-8")

    def _all(self) -> Iterator[Tensor]:
        yield torch.get_rng_state()
        yield from (tensor for tensor in self.tensors if tensor.numel())
        for optimizer in self.optimizers.values():
            yield from _tensors(optimizer.state_dict())


def _tensors(thing: Any) -> Iterator[Tensor]:
    if isinstance(thing, Tensor):
        yield thing if thing.numel() else thing.new_zeros(1)
    elif isinstance(thing, dict):
        for inner in thing.values():
            yield from _tensors(inner)
    elif isinstance(thing, list | tuple):
        for inner in thing:
            yield from _tensors(inner)
    elif isinstance(thing, int | float):
        yield torch.tensor(float(thing), dtype=torch.float64)
