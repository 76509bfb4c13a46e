"""How much of the differences between samples each layer hands on."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from torchdx.watch.session import Session

FIRST = 8
"""Looks at the start at which signals are measured; later it is done at one in `SELDOM`."""

SELDOM = 4
MOST = 64
_ROWS, _COLUMNS = 16, 64


class Signal:
    """A few rows and columns of every layer's output, the same for all samples, at some of the looks."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._looks = 0
        self._blocks: dict[str, Tensor] = {}
        session.at_look.append(self._opens)
        session.at_look_end.append(self._closes)

    def _opens(self) -> None:
        self._blocks.clear()
        self._looks += 1

    def keep(self, key: str, tensor: Tensor) -> None:
        """Keep a share of this layer's output, if this look measures signals."""
        wanted = self._looks <= FIRST or self._looks % SELDOM == 0
        if wanted and len(self._blocks) < MOST and tensor.dim() >= 2 and tensor.shape[0] > 3:
            self._blocks[key] = _block(tensor.detach())

    def _closes(self) -> None:
        if len(self._blocks) < 2:
            return
        step, device = self.session.step, next(iter(self._blocks.values())).device
        keys = [key for key, block in self._blocks.items() if block.device == device]
        blocks = torch.stack([self._blocks[key] for key in keys])
        across = (blocks - blocks.mean(1, keepdim=True)).square().mean((1, 2)).sqrt()
        self._blocks.clear()
        self.session.mail.send(
            across, lambda values: self.session.write("signal", step=step, layers=dict(zip(keys, values, strict=True)))
        )


def _block(tensor: Tensor) -> Tensor:
    """Rows and columns at even distances, shape (_ROWS, _COLUMNS); of small tensors some more than once."""
    rows = tensor.shape[0]
    return torch.take(tensor, _places(rows, tensor.numel() // rows, tensor.device)).float()


@lru_cache(maxsize=256)
def _places(rows: int, columns: int, device: torch.device) -> Tensor:
    """Flat positions in a tensor of so many rows, and columns when all but its first dimension are laid out in one."""
    across = torch.arange(_COLUMNS, device=device) * columns // _COLUMNS
    down = torch.arange(_ROWS, device=device) * rows // _ROWS
    return down[:, None] * columns + across
