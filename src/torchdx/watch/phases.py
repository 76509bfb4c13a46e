"""Training or evaluation? Told from what happens, not from how things are called.

A loss whose graph a later `backward` reaches was a training loss. A loss without a graph, or one that no `backward`
reaches, was an evaluation. A phase ends when that changes, or when a loader starts anew.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import stdev
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.models import Models
from torchdx.watch.places import Place
from torchdx.watch.session import DENSE, Session

_NEAR, _A_LOSS = 256, 4
"""Nodes of the graph searched from where `backward` is called, and more for each loss looked for: losses are added up
close to the root, be it those of a batch or of every step of a sequence."""

_MOST_PENDING = 4096
"""Losses with a graph that wait for a `backward`; more than any sequence has steps."""

_FIRST_BATCHES = 16
"""Batches of each evaluation that are measured even where credit is spent."""

_FEW = 3
"""Batches of an evaluation that are too few to take an error from: stretches of them are told instead."""

_MOST_KEPT = 32
"""Batches of an evaluation whose losses are kept one by one, so that two evaluations can be compared batch by batch."""


@dataclass
class Tally:
    """The running mean of one loss call's values over a phase, weighted by samples, and its standard error."""

    function: str
    place: Place | None
    batches: int = 0
    samples: int = 0
    total: float = 0.0
    squares: float = 0.0
    right: float = 0.0
    judged: int = 0
    each: list[float] = field(default_factory=list)
    parts: list[float] = field(default_factory=list)
    parted: int = 0

    @property
    def is_parted(self) -> bool:
        """Are so few batches all there is that stretches of them tell the error better?"""
        return self.batches <= _FEW and self.parted == self.batches

    def add(self, value: float | None, right: float | None, samples: int) -> None:
        """Count one more batch; a value that could not be read is left out."""
        self.batches += 1
        if value is None:
            return
        self.samples += samples
        if len(self.each) < _MOST_KEPT:
            self.each.append(value)
        self.total += value * samples
        self.squares += value * value * samples
        if right is not None:
            self.right += right * samples
            self.judged += samples

    def told(self) -> dict[str, Any]:
        """The tally as part of a fact."""
        if not self.samples:
            return {"fn": self.function, "site": self.place, "batches": self.batches, "mean": None}
        mean = self.total / self.samples
        variance = max(self.squares / self.samples - mean * mean, 0.0) if math.isfinite(mean) else math.nan
        error = math.sqrt(variance / (self.batches - 1)) if self.batches > 1 else None
        if self.is_parted and len(self.parts) > 1:
            error = stdev(self.parts) / math.sqrt(len(self.parts))
        return {
            "fn": self.function,
            "site": self.place,
            "batches": self.batches,
            "samples": self.samples,
            "mean": mean,
            "error": error,
            "accuracy": self.right / self.judged if self.judged else None,
        }


@dataclass
class Phase:
    """The phase that is going on."""

    what: str
    loader: int | None
    turn: int
    first_step: int
    grad: bool
    modes: dict[str, int]
    seen: int = 0
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)


@dataclass
class Pending:
    """A loss with a graph, of which it is not yet known whether it will be trained on."""

    sequence: int
    function: str
    place: Place | None
    value: float | None
    right: float | None
    samples: int
    loader: int | None
    turn: int
    modes: dict[str, int]


class Phases:
    """Sorts loss calls into phases and writes each phase when it ends."""

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self.loader: int | None = None
        self.turn = 0
        self._index = 0
        self._phase: Phase | None = None
        self._pending: list[Pending] = []
        self._in_batches: set[tuple[str, str]] = set()
        session.weave(torch.autograd.backward, before=self._backward)
        session.at_end.append(self._ends)

    def loss(
        self, name: str, place: Place | None, result: Tensor, value: float | None, right: float | None, samples: int
    ) -> str:
        """Take note of a loss call; returns what it is for, "train" where that is still open."""
        modes = self.models.modes()
        node = result.grad_fn
        if node is None and self._watches_training():
            return "monitor"
        if node is None:
            self._count("eval", name, place, value, right, samples, self.loader, self.turn, False, modes)
            return "eval"
        pending = Pending(node._sequence_nr(), name, place, value, right, samples, self.loader, self.turn, modes)
        self._pending.append(pending)
        if len(self._pending) > _MOST_PENDING:
            self._settle(set(), leave=_MOST_PENDING // 2)
        return "train"

    def can_take(self, affordable: bool) -> bool:
        """Shall one more batch of an evaluation be measured? The first always, later ones if they can be paid."""
        phase = self._phase
        return affordable or phase is None or phase.what != "eval" or phase.seen < _FIRST_BATCHES

    def wants_parts(self, name: str, place: Place | None) -> bool:
        """Is this one of the first batches of an evaluation that may, for all that is known, have no more?"""
        key = (name, str(place))
        tally = self._phase.tallies.get(key) if self._phase is not None else None
        return tally is not None and tally.batches <= _FEW and key not in self._in_batches

    def keep_parts(self, name: str, place: Place | None, parts: list[float]) -> None:
        """The losses of stretches of that batch, from which its error is known."""
        tally = self._phase.tallies.get((name, str(place))) if self._phase is not None else None
        if tally is not None:
            tally.parts += parts
            tally.parted += bool(parts)

    def _watches_training(self) -> bool:
        """Is a loss without a graph just a figure printed in the training loop, on the loader's present batch?"""
        phase = self._phase
        at = (self.loader, self.turn)
        same = phase is not None and phase.what == "train" and (phase.loader, phase.turn) == at
        return self.loader is not None and (same or any((p.loader, p.turn) == at for p in self._pending))

    def _backward(self, tensors: Any, *_: Any) -> None:
        if not self._pending:
            return
        roots = [tensors] if isinstance(tensors, Tensor) else [t for t in tensors if isinstance(t, Tensor)]
        if len(self._pending) == 1 and self._phase is not None and self._phase.what == "train":
            reached = {self._pending[0].sequence}
        else:
            reached = _reached(roots, {pending.sequence for pending in self._pending})
            if not reached:  # the losses lie deeper than was searched: take those of the latest batch
                reached = {p.sequence for p in self._pending if p.turn == self.turn}
        self._settle(reached)

    def _settle(self, reached: set[int], leave: int = 0) -> None:
        """Count the pending losses: those reached by `backward` as training, the others as evaluation.

        What belongs to the same batch as a reached loss waits: several losses may be trained on one after another.
        """
        pending, self._pending = self._pending, []
        latest = max((k for k, p in enumerate(pending) if p.sequence in reached), default=len(pending) - leave)
        for k, p in enumerate(pending):
            if k > latest or (p.sequence not in reached and k >= len(pending) - leave):
                self._pending.append(p)
                continue
            what = "train" if p.sequence in reached else "eval"
            self._count(what, p.function, p.place, p.value, p.right, p.samples, p.loader, p.turn, True, p.modes)

    def _count(
        self,
        what: str,
        name: str,
        place: Place | None,
        value: float | None,
        right: float | None,
        samples: int,
        loader: int | None,
        turn: int,
        grad: bool,
        modes: dict[str, int],
    ) -> None:
        phase = self._phase
        stepped = what == "eval" and phase is not None and phase.first_step != self.session.step  # perhaps asleep
        if phase is None or phase.what != what or (phase.loader, phase.turn) != (loader, turn) or stepped:
            self._close()
            phase = self._phase = Phase(what, loader, turn, self.session.step, grad, modes)
        if modes["training"] > phase.modes["training"]:
            phase.modes = modes
        phase.seen += 1
        key = (name, str(place))
        tally = phase.tallies.get(key)
        if tally is None:
            tally = phase.tallies[key] = Tally(name, place)
        tally.add(value, right, samples)

    def _close(self) -> None:
        phase, self._phase = self._phase, None
        if phase is None:
            return
        self._in_batches |= {key for key, tally in phase.tallies.items() if tally.batches > _FEW}
        self._index += 1
        stride = max(1, self._index // DENSE)
        if self._index % (1 << (stride.bit_length() - 1)):
            return
        self.session.write(
            "phase",
            index=self._index,
            what=phase.what,
            loader=phase.loader,
            first_step=phase.first_step,
            last_step=self.session.step,
            batches=max(tally.batches for tally in phase.tallies.values()),
            grad=phase.grad,
            modes=phase.modes,
            losses=[tally.told() | _each(tally, phase.what) for tally in phase.tallies.values()],
        )

    def _ends(self) -> None:
        """The last phase ends with the process."""
        self._settle(set())
        self._close()


def _each(tally: Tally, what: str) -> dict[str, Any]:
    if what == "eval" and tally.is_parted:
        return {"each": tally.parts}
    whole = what == "eval" and 1 < tally.batches == len(tally.each)
    return {"each": [float(f"{value:.6g}") for value in tally.each]} if whole else {}


def _reached(roots: list[Tensor], wanted: set[int]) -> set[int]:
    """Which of the wanted sequence numbers the graph has, searched from the roots on and behind losses last."""
    near = deque(root.grad_fn for root in roots if root.grad_fn is not None)
    behind: deque[Any] = deque()
    seen: set[int] = set()
    for _ in range(_NEAR + _A_LOSS * len(wanted)):
        if not (near or behind) or wanted <= seen:
            break
        node = near.popleft() if near else behind.popleft()
        number = node._sequence_nr()
        if number not in seen:
            seen.add(number)
            queue = behind if number in wanted else near
            queue.extend(parent for parent, _ in node.next_functions if parent is not None)
    return wanted & seen
