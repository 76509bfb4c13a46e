"""How far back the graph behind an objective goes, and whether graphs of steps long past are still kept."""

from __future__ import annotations

import heapq
import weakref
from bisect import bisect_left
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.places import user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import root_of

_MOST_NODES = 256
"""Nodes that are gone through at a look, the oldest first: a third of a millisecond."""

_OFTEN = 1.25
"""Times as many steps until it is seen again, between looks, which graphs are kept."""

_MOST_MARKS = 64
"""Looked-at backward passes that are remembered."""

_NO_NUMBER = 1 << 62
"""Nodes that accumulate gradients have no number of their own, but the greatest there is."""

_KEY = "torchdx"


class Seal:
    """Lives as long as the node that holds it."""


class Graphs:
    """At looked-at steps, goes through the graph from `backward` towards its oldest nodes.

    Nodes are numbered as they are made, so that the number of a step's last node tells which nodes are older than it.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._numbers: list[int] = []
        self._steps: list[int] = []
        self._seals: list[tuple[int, weakref.ref[Seal]]] = []
        self._sealed = 0
        self._told: tuple[int | None, int] | None = None
        self._latest = -1
        self._next = 16
        session.weave(torch.autograd.backward, before=self._backward)

    def is_past(self, tensor: Tensor) -> bool:
        """Was the tensor's graph made before the last step that was looked at was over?"""
        node, step = tensor.grad_fn, self.session.step
        past = [number for number, at in zip(self._numbers, self._steps, strict=True) if at < step]
        return node is not None and bool(past) and node._sequence_nr() <= past[-1]

    def _backward(self, tensors: Any, *_: Any) -> None:
        looking = self.session.looking
        if not looking and self.session.step < self._next:
            return
        root = root_of(tensors)
        if root is None or root.grad_fn is None:
            return
        with self.session.governor.look():
            step, first = self.session.step, self._latest != self.session.step
            self._latest = step
            self._next = max(self._next, int(_OFTEN * step))
            if first:
                self._tell(root.grad_fn, step, whole=looking)
            if not looking:
                return
            number = root.grad_fn._sequence_nr()
            if number < _NO_NUMBER and (not self._numbers or number > self._numbers[-1]):
                self._numbers, self._steps = self._numbers[-_MOST_MARKS:], self._steps[-_MOST_MARKS:]
                self._numbers.append(number)
                self._steps.append(step)

    def _tell(self, root: Any, step: int, whole: bool) -> None:
        """Of a step's first backward pass: through how many earlier steps its graph goes, and how many are kept."""
        through, nodes = self._dig(root, step) if whole else (None, None)
        kept = sum(seal() is not None and at < step - 1 for at, seal in self._seals)
        if not whole or (through, kept) != self._told:
            self._told = (through, kept)
            self.session.write(
                "graph",
                step=step + 1,
                site=user_place(3),
                nodes=nodes,
                through=through,
                kept=kept,
                sealed=self._sealed,
                oldest=next((at + 1 for at, seal in self._seals if seal() is not None), step + 1),
            )
        if whole:
            self._seal(root, step)

    def _dig(self, root: Any, step: int) -> tuple[int, int]:
        """How many of the looked-at steps before this one the graph reaches, and how many nodes were gone through."""
        reached: set[int] = set()
        seen = {root}
        ahead = [(root._sequence_nr(), 0, root)]
        while ahead and len(seen) < _MOST_NODES:
            number, _, node = heapq.heappop(ahead)
            place = bisect_left(self._numbers, number)
            if place < len(self._numbers) and self._steps[place] < step:
                reached.add(self._steps[place])
            for parent, _ in node.next_functions:
                if parent is not None and parent not in seen:
                    seen.add(parent)
                    own = parent._sequence_nr()
                    if own < _NO_NUMBER:
                        heapq.heappush(ahead, (own, len(seen), parent))
        return len(reached), len(seen)

    def _seal(self, root: Any, step: int) -> None:
        """Have the node hold something that is gone when the node is."""
        self._seals = [(at, seal) for at, seal in self._seals if seal() is not None]
        if len(self._seals) >= _MOST_MARKS:
            return
        seal = Seal()
        root.metadata[_KEY] = seal
        self._sealed += 1
        self._seals.append((step, weakref.ref(seal)))
