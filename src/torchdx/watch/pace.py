"""When an objective is looked through for something that only some have."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchdx.watch.answers import spaced
from torchdx.watch.session import Session
from torchdx.watch.tensors import root_of


class Pace:
    """Ever more rarely where it was found, and no more after so many objectives in a row without it."""

    def __init__(self, session: Session, patience: int) -> None:
        self.session = session
        self.patience = patience
        self._next = 0
        self._missed = 0

    def objective(self, tensors: Any) -> Tensor | None:
        """What `backward` begins at, if it is one number with a graph on a CPU, and due."""
        root = root_of(tensors)
        if self.session.asleep or self.session.step < self._next or self._missed > self.patience or root is None:
            return None
        return root if root.grad_fn is not None and root.numel() == 1 and root.device.type == "cpu" else None

    def missed(self) -> None:
        """It was not there."""
        self._missed += 1

    def found(self) -> None:
        """It was there: the next look is due some steps on."""
        self._next, self._missed = spaced(self.session.step), 0
