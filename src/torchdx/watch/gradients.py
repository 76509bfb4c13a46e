"""Gradients as the optimizer gets them, and the steps it takes with them."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from torchdx.watch.models import Models
from torchdx.watch.session import Session
from torchdx.watch.stillness import Stillness
from torchdx.watch.tensors import is_plain, sample

SAMPLE = 1024
"""Elements of a parameter whose change is measured: the RMS of an update is then known to about 3 %."""

MOST = 64
"""Parameters measured at one look; of larger models another part at each look."""

FEW = 64
"""Elements that tell whether a parameter without a gradient was changed all the same."""

SENTINELS = 4
"""Gradients of an optimizer that are followed from the backward pass to the step."""

GLANCE = 16
"""Step from which on, at every doubling, it is seen without a look which parameters have no gradient."""


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
        self._missing: list[Tensor] = []
        self._still: tuple[Tensor, Tensor] | None = None
        self._glanced: dict[int, Tensor] = {}
        self._outside: list[int] = []
        self._idle: dict[int, list[weakref.ref[Tensor]]] = {}
        self._pulled: list[int] = []
        self._held: set[int] = set()
        self.due: dict[int, int] = {}
        self._stillness = Stillness(models)
        self._given: dict[int, list[tuple[weakref.ref[Tensor], Tensor]]] = {}
        self._left: float | None = None
        self.asked: list[Callable[[int, Sequence[Tensor]], None]] = []

    def hold(self, optimizer: Optimizer) -> None:
        """Parameters that an optimizer holds, from its making on or taken in later, are not outside of all."""
        self._held.update(self.models.parameter_number(p) for group in optimizer.param_groups for p in group["params"])

    def release(self, parameters: Sequence[Tensor]) -> None:
        """These are held by no optimizer after all."""
        self._held.difference_update(self.models.parameter_number(p) for p in parameters)

    def given(self, optimizer: Optimizer, index: int) -> None:
        """A backward pass is over: remember how large a few gradients are that it gave, where that is cheaply told."""
        held = (p for group in optimizer.param_groups for p in group["params"])
        known = (p for p in held if p.grad is not None and is_plain(p.grad) and p.grad.device.type == "cpu")
        first = [p for p, _ in zip(known, range(SENTINELS), strict=False)]
        self._given[index] = [(weakref.ref(p), sample(p.grad, SAMPLE).norm()) for p in first if p.grad is not None]

    def _left_of(self, index: int) -> float | None:
        """What is left at the step of the gradients that the backward pass gave: a share of their size."""
        given = [(parameter(), size) for parameter, size in self._given.pop(index, [])]
        pairs = [(p.grad, size) for p, size in given if p is not None and p.grad is not None and is_plain(p.grad)]
        if not pairs or any(gradient.device.type != "cpu" for gradient, _ in pairs):
            return None
        before = math.hypot(*(float(size) for _, size in pairs))
        now = math.hypot(*(float(sample(gradient, SAMPLE).norm()) for gradient, _ in pairs))
        return now / before if before > 0 and math.isfinite(before) else None

    def before(self, optimizer: Optimizer, index: int) -> None:
        """Measure gradients, and take a sample of the values, just before the step."""
        held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self._held.update(self.models.parameter_number(p) for p in held)
        self._outside = self.models.with_gradient(besides=self._held)
        self._missing = [p for p in held if p.grad is None]
        self._left = self._left_of(index)
        self._ask_the_idle(index, held)
        if not held and self._outside:
            self.session.write("frozen_step", step=self.session.step + 1, optimizer=index, outside=self._outside)
        usable = [p for p in held if p.grad is not None and is_plain(p) and is_plain(p.grad)]
        usable = [p for p in usable if p.device == usable[0].device]
        for ask in self.asked:
            ask(index, usable)
        start = (self._looks * MOST) % max(1, len(usable)) if len(usable) > MOST else 0
        self._chosen = (usable + usable)[start : start + min(MOST, len(usable))]
        self._looks += 1
        self._optimizer = index
        if not self._chosen:
            self._values = None
            still = self._missing[0] if self._missing and is_plain(self._missing[0]) else None
            self._still = (still, sample(still, FEW)) if still is not None and still.device.type == "cpu" else None
            return
        gradients = [p.grad for p in self._chosen if p.grad is not None]
        norms = torch._foreach_norm(gradients)
        self._norms = torch.stack([norm.detach().float() for norm in norms])
        self._values = torch.stack([sample(p, SAMPLE) for p in self._chosen])
        self._stillness.before(optimizer, self._chosen)

    def _ask_the_idle(self, index: int, held: Sequence[Tensor]) -> None:
        """Optimizers that had no gradient when it was their turn: are there some for them now, at another's step?"""
        own = {id(p) for p in held}
        others = {number: [p for ref in refs if (p := ref()) is not None] for number, refs in self._idle.items()}
        self._pulled = [
            number
            for number, parameters in others.items()
            if number != index and any(p.grad is not None for p in parameters if id(p) not in own)
        ]
        self._idle.pop(index, None)
        if held and len(self._missing) == len(held):
            self._idle[index] = [weakref.ref(p) for p in self._missing]

    def after(self, optimizer: Optimizer, ahead: int = 1) -> None:
        """Take the same sample again, and write down what changed, as of the step that is so many ahead.

        A gradient may come during the step only, by a closure: it is missing where there is none after it either.
        """
        if self._values is None or self._norms is None:
            if self._missing and all(p.grad is None for p in self._missing):
                self._writing(ahead)(0.0, {}, {"moved": self._has_moved()})
            self._missing = []
            self._still = None
            return
        now = torch.stack([sample(p, SAMPLE) for p in self._chosen])
        value = self._values.square().mean(1).sqrt()
        update = (now - self._values).square().mean(1).sqrt()
        kept, idle, back = self._stillness.after(self._values, now)
        roots = [math.sqrt(p.numel()) for p in self._chosen]
        numbers = [str(self.models.parameter_number(p)) for p in self._chosen]
        write, stillness, left = self._writing(ahead), self._stillness, self._left

        def tell(table: Sequence[Sequence[float]]) -> None:
            rows = [[row[0] / root, row[1], row[2]] for root, row in zip(roots, table, strict=True)]
            more = {**stillness.told(numbers, [row[3:] for row in table]), **({} if left is None else {"left": left})}
            write(math.hypot(*(row[0] for row in table)), dict(zip(numbers, rows, strict=True)), more)

        self.session.mail.send(torch.stack([self._norms, value, update, kept, idle, back], dim=1), tell)
        self._values = None
        self._chosen = []
        self._missing = []

    def _has_moved(self) -> bool:
        """Did the step change the first of the parameters without a gradient all the same, in a way of its own?"""
        return self._still is not None and not torch.equal(sample(self._still[0], FEW), self._still[1])

    def glance(self, optimizer: Optimizer, index: int) -> None:
        """Just after a step that is not looked at: which trainable parameters have no gradient?"""
        self.due[index] = 2 * self.session.step
        held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        missing = [self.models.parameter_number(p) for p in held if p.grad is None]
        if missing:
            whole = {"whole": True, "moved": self._moved_since(index, held[0])} if len(missing) == len(held) else {}
            self.session.write("unreached", step=self.session.step + 1, optimizer=index, params=missing, **whole)

    def _moved_since(self, index: int, parameter: Tensor) -> bool | None:
        """Was it changed since the last glance? None if there was none, or it cannot be read."""
        if not is_plain(parameter) or parameter.device.type != "cpu":
            return None
        now, before = sample(parameter, FEW), self._glanced.get(index)
        self._glanced[index] = now
        return None if before is None or before.shape != now.shape else not torch.equal(now, before)

    def _writing(self, ahead: int) -> Callable[[float, Mapping[str, Sequence[float]], Mapping[str, Any]], None]:
        """How to write the fact of this look, whenever its numbers arrive."""
        step, optimizer, outside = self.session.step + ahead, self._optimizer, self._outside
        pulled = {"pulled": self._pulled} if self._pulled else {}
        missing = [self.models.parameter_number(p) for p in self._missing if p.grad is None]

        def write(norm: float, params: Mapping[str, Sequence[float]], more: Mapping[str, Any]) -> None:
            told = {"optimizer": optimizer, "norm": norm, "missing": missing, "outside": outside, "params": params}
            self.session.write("gradients", step=step, **told, **pulled, **more)

        return write
