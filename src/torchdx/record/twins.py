"""Copies of a trained module: how far they followed it, and which of the two was run without gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torchdx.finding import Site
from torchdx.record.anatomy import site_of
from torchdx.record.facts import Fact

ALIKE = 0.5
"""Distance over size below which a copy began as the model did: other random weights are about 1.4 away, a model is
0.05 away from where it began after its first step (the calibration programs)."""

RARE = 8
"""Steps from one evaluation to the next, at least: what a loss needs is run at every step, or every few where several
optimizers take turns."""


@dataclass(frozen=True)
class Run:
    """A place that switches gradients off and runs one of the two: how often, at how many steps, and when."""

    entries: int
    steps: int
    first: int
    last: int
    site: Site | None = None

    def is_rare(self) -> bool:
        """Is it reached at few of the steps, as an evaluation is, and not in each?"""
        return RARE * self.steps <= self.last - self.first + RARE


@dataclass(frozen=True)
class Twin:
    """A copy when it was last measured: its `share` of the way from where it was at first to the trained module.

    `far` and `apart` are the trained module's distance from there, and from the copy, over the copy's size at first;
    `along` the cosine between the two ways. `began` is the same as `apart`, when it was noticed. `pulled` is one that
    gradients reach.
    """

    copy: int
    of: int
    noticed: int
    measured: int
    moved: bool
    share: float | None
    along: float | None
    far: float
    began: float
    pulled: bool
    watched: bool
    copy_runs: tuple[Run, ...]
    trained_runs: tuple[Run, ...]

    @property
    def began_alike(self) -> bool:
        """Did it begin with the weights of the trained module?"""
        return 0 < self.began < ALIKE

    @property
    def evaluations(self) -> list[Run]:
        """Where the copy was run now and then."""
        return [run for run in self.copy_runs if run.is_rare() and run.last > self.noticed]


def twins_of(facts: Iterable[Fact]) -> list[Twin]:
    """One for each copy, as it was at the last."""
    first: dict[int, Fact] = {}
    last: dict[int, Fact] = {}
    for fact in facts:
        first.setdefault(fact["copy"], fact)
        last[fact["copy"]] = fact
    return [_twin(fact, first[number]) for number, fact in last.items()]


def _twin(fact: Fact, first: Fact) -> Twin:
    runs = fact.get("runs") or {}
    return Twin(
        copy=fact["copy"],
        of=fact["of"],
        noticed=fact["noticed"],
        measured=fact["measured"],
        moved=fact["moved"],
        share=fact.get("share"),
        along=fact.get("along"),
        far=fact.get("far") or 0.0,
        began=first.get("apart") or 0.0,
        pulled=fact.get("pulled", False),
        watched=fact.get("watched", False),
        copy_runs=_runs(runs.get("copy", ())),
        trained_runs=_runs(runs.get("trained", ())),
    )


def _runs(told: Iterable[Sequence[Any]]) -> tuple[Run, ...]:
    return tuple(Run(entries, steps, first, last, site_of(place)) for entries, steps, first, last, place in told)
