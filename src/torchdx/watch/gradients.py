"""Gradients as the optimizer gets them, and the steps it takes with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from torchdx.watch.models import Models
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, sample

SAMPLE = 1024
"""Elements of a parameter whose change is measured: the RMS of an update is then known to about 3 %."""

MOST = 64
"""Parameters measured at one look; of larger models another part at each look."""


class Gradients:
    """RMS of gradient, value and update of the parameters an optimizer steps."""

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._looks = 0
        self._step = 0
        self._optimizer = 0
        self._chosen: list[Tensor] = []
        self._values: Tensor | None = None
        self._norms: Tensor | None = None
        self._missing: list[int] = []
        self._outside: list[int] = []
        self._held: set[int] = set()

    def hold(self, optimizer: Optimizer) -> None:
        """Parameters that an optimizer holds, from its making on or taken in later, are not outside of all."""
        self._held.update(self.models.parameter_number(p) for group in optimizer.param_groups for p in group["params"])

    def before(self, optimizer: Optimizer, index: int) -> None:
        """Measure gradients, and take a sample of the values, just before the step."""
        held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self._held.update(self.models.parameter_number(p) for p in held)
        self._outside = self.models.with_gradient(besides=self._held)
        self._missing = [self.models.parameter_number(p) for p in held if p.grad is None]
        usable = [p for p in held if p.grad is not None and is_plain(p) and is_plain(p.grad)]
        usable = [p for p in usable if p.device == usable[0].device]
        start = (self._looks * MOST) % max(1, len(usable)) if len(usable) > MOST else 0
        self._chosen = (usable + usable)[start : start + min(MOST, len(usable))]
        self._looks += 1
        self._optimizer = index
        if not self._chosen:
            self._values = None
            self._writing()(0.0, {})
            return
        gradients = [p.grad for p in self._chosen if p.grad is not None]
        norms = torch._foreach_norm(gradients)
        self._norms = torch.stack([norm.detach().float() for norm in norms])
        self._values = torch.stack([sample(p, SAMPLE) for p in self._chosen])

    def after(self, optimizer: Optimizer) -> None:
        """Take the same sample again, and write down what changed."""
        if self._values is None or self._norms is None:
            return
        now = torch.stack([sample(p, SAMPLE) for p in self._chosen])
        value = self._values.square().mean(1).sqrt()
        update = (now - self._values).square().mean(1).sqrt()
        roots = [math.sqrt(p.numel()) for p in self._chosen]
        numbers = [str(self.models.parameter_number(p)) for p in self._chosen]
        write = self._writing()

        def tell(table: Sequence[Sequence[float]]) -> None:
            rows = [[norm / root, *rest] for root, (norm, *rest) in zip(roots, table, strict=True)]
            write(math.hypot(*(norm for norm, *_ in table)), dict(zip(numbers, rows, strict=True)))

        self.session.mail.send(torch.stack([self._norms, value, update], dim=1), tell)
        self._values = None
        self._chosen = []

    def _writing(self) -> Callable[[float, Mapping[str, Sequence[float]]], None]:
        """How to write the fact of this look, whenever its numbers arrive."""
        step, optimizer, missing, outside = self.session.step + 1, self._optimizer, self._missing, self._outside

        def write(norm: float, params: Mapping[str, Sequence[float]]) -> None:
            told = {"optimizer": optimizer, "norm": norm, "missing": missing, "outside": outside, "params": params}
            self.session.write("gradients", step=step, **told)

        return write
