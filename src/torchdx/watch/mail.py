"""Numbers on their way from a device, fetched without ever waiting for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Then = Callable[[Any], None]
_MOST = 256


class Mail:
    """Results asked for, in order; each is handed on once its copy has arrived."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Tensor, Any, Then]] = deque()

    def send(self, tensor: Tensor, then: Then) -> None:
        """Call `then` with the tensor's values (nested lists), now on a CPU, later on an accelerator."""
        if tensor.device.type == "cpu":
            then(tensor.tolist())
            return
        if len(self._waiting) >= _MOST:
            return
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=tensor.device.type == "cuda")
        copy.copy_(tensor.detach(), non_blocking=True)
        event = torch.Event(tensor.device)
        event.record()
        self._waiting.append((copy, event, then))

    def deliver(self, wait: bool = False) -> None:
        """Hand on what has arrived; at the end of a run, with `wait`, everything."""
        while self._waiting:
            copy, event, then = self._waiting[0]
            if wait:
                event.synchronize()
            elif not event.query():
                return
            self._waiting.popleft()
            then(copy.tolist())
