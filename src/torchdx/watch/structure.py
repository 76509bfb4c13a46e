"""What an autograd graph tells of a program's structure, at the first looks: facts that rules then judge."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from torchdx.watch.bounds import beyond, silenced
from torchdx.watch.likelihoods import odd_likelihoods
from torchdx.watch.lineage import Lineage
from torchdx.watch.lines import Lines
from torchdx.watch.mixtures import mixtures, nearest_parameter
from torchdx.watch.models import Models
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import root_of

EACH, MOST = 4, 48
"""Backward passes of one place whose whole graph is gone through, once more with each new optimizer, and of all: what
is built in is seen in the first."""

MOST_BOUNDS = 256
"""Backward passes at whose last operations is looked."""


MOST_FEEDING = 256
"""Parameters of one graph that are told as those before what is trained."""


class Structure:
    """Reads, just before a looked-at backward pass, the graph that it will go through."""

    def __init__(self, session: Session, models: Models, lines: Lines) -> None:
        self.session = session
        self.models = models
        self.lines = lines
        self._walked = 0
        self._places: dict[str, int] = {}
        self._bounds = 0
        self._chains: set[tuple[int, ...]] = set()
        self._held: set[int] = set()
        session.weave(Optimizer.__init__, after=self._begins)
        session.weave(torch.autograd.backward, before=self._backward)

    def _begins(self, _: None, optimizer: Optimizer, *__: Any) -> None:
        self._places.clear()
        self._held.update(id(p) for group in optimizer.param_groups for p in group["params"])

    def _backward(self, tensors: Any, *_: Any) -> None:
        if not self.session.looking:
            return
        root = root_of(tensors)
        if root is None or root.grad_fn is None:
            return
        with self.session.governor.look():
            if self._bounds < MOST_BOUNDS:
                self._bounds += 1
                self._tell_bounds(root.grad_fn)
            place = str(user_place(2))
            self._places[place] = self._places.get(place, 0) + 1
            if self._walked < MOST and self._places[place] <= EACH:
                self._walked += 1
                lineage = Lineage(root.grad_fn)
                self._tell_chains(lineage)
                self._tell_mixtures(lineage)
                self._tell_likelihoods(lineage, root, place)
                self._tell_feeding(lineage)

    def _tell_bounds(self, root: Any) -> None:
        for node, name, low, high, share in beyond(root):
            self.session.write(
                "bound",
                step=self.session.step + 1,
                by=name,
                low=low,
                high=high if math.isfinite(high) else None,
                beyond=share,
                silenced=silenced(node),
                after=self._number(nearest_parameter(node)),
            )

    def _tell_chains(self, lineage: Lineage) -> None:
        for whole, chains in ((False, lineage.chains()), (True, lineage.unbent())):
            for chain in chains:
                numbers = tuple(self.models.parameter_number(weight) for weight in chain)
                if (whole, *numbers) not in self._chains:
                    self._chains.add((whole, *numbers))
                    self.session.write("chain", step=self.session.step + 1, params=numbers, whole=whole)

    def _tell_mixtures(self, lineage: Lineage) -> None:
        for node, axis, shape, summed, why in mixtures(lineage):
            self.session.write(
                "mixture",
                step=self.session.step + 1,
                axis=axis,
                shape=shape,
                summed=summed,
                why=why,
                after=self._number(nearest_parameter(node)),
            )

    def _tell_likelihoods(self, lineage: Lineage, root: Tensor, place: str) -> None:
        for odd in odd_likelihoods(lineage):
            key = f"{odd.what} {odd.by} {place}"
            told = {"what": odd.what, "shape": odd.shape, "classes": odd.classes, "axis": odd.axis, "by": odd.by}
            after = self._number(nearest_parameter(odd.node))
            self.session.write("likelihood", step=self.session.step + 1, **told, after=after, key=key)
            if self._places[place] == 1 and not self.session.compiled:
                self.lines.ask(root, odd.node, partial(self._tell_line, key))

    def _tell_line(self, key: str, line: Place) -> None:
        self.session.write("likelihood_line", key=key, line=line)

    def _tell_feeding(self, lineage: Lineage) -> None:
        """Parameters in no optimizer, out of which what the trained layers read is computed."""
        feeding = [p for p in lineage.feeding(self._held) if id(p) not in self._held]
        if feeding:
            numbers = [self.models.parameter_number(p) for p in feeding[:MOST_FEEDING]]
            self.session.write("feeding", step=self.session.step + 1, params=numbers)

    def _number(self, parameter: Tensor | None) -> int | None:
        return self.models.parameter_number(parameter) if parameter is not None else None
