"""Symptoms: what a person would notice of a run, put on a scale that has a meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torchdx.record import Progress, Record, Series

ENOUGH_STEPS = 30
"""Optimizer steps below which learning is not judged: the healthy zoo's slowest learner is off its prior by then."""

LEARNT = 0.98
"""Share of the prior's loss below which a model has learnt something (catalogue, row 88)."""

DIVERGED = 2.0
"""A loss this many times its best, to the end, has diverged (TheDeepChecker; catalogue, row 67)."""

RUNAWAY = 10.0
"""The same for a loss without a scale, against where it began: those of games and of agents may well rise."""

NOISE = 0.05
"""Share of the prior's loss below which ups and downs are the noise of batches (a healthy net of batch size 8)."""

FALLING = 0.01
"""Share by which a loss that still falls is lower in the last third of the steps than in the middle one."""

CARRIES_OVER = 0.5
"""Share of the learnt part of the loss that validation must show, too: below it the model does not generalise."""


@dataclass(frozen=True)
class Course:
    """How training went: where the loss began and ended, and what a model that sees no inputs would reach.

    `prior` is that loss, in the loss's own unit: H(Y) for a classifier, the targets' variance for squared errors.
    None where the loss has no such scale.
    """

    steps: int
    start: float = math.nan
    first: float = math.nan
    last: float = math.nan
    best: float = math.nan
    prior: float | None = None
    prior_name: str = ""
    validation: Series = field(default_factory=Series)
    still_falls: bool = False
    symptoms: frozenset[str] = frozenset()

    @property
    def evidence(self) -> Mapping[str, Any]:
        """The numbers, named for a person."""
        finite = "last finite training loss" if "non-finite" in self.symptoms else "training loss"
        told: dict[str, Any] = {"steps": self.steps, "training loss at first": self.start, finite: self.last}
        if self.prior is not None:
            told[self.prior_name] = self.prior
        if self.validation:
            told["validation loss"] = self.validation.last
        return {name: value for name, value in told.items() if value == value}


def course_of(record: Record) -> Course:
    """Put the run's loss on its scale, and name its symptoms."""
    progress = record.progress
    if math.isnan(progress.last):
        return Course(record.steps, symptoms=frozenset({"non-finite"} if record.nonfinite else ()))
    first, last, best, prior = progress.first, progress.last, progress.best, progress.prior
    symptoms = set()
    if not progress.finite:
        symptoms.add("non-finite")
    if record.steps >= ENOUGH_STEPS and prior and prior > 0 and last > LEARNT * prior:
        symptoms.add("not-learning")
    if _has_diverged(progress):
        symptoms.add("diverged")
    validation = record.validation_loss().finite
    learnt = prior - last if prior and _is_comparable(record) else 0.0
    if prior and validation and learnt > (1 - LEARNT) * prior and prior - validation.last < CARRIES_OVER * learnt:
        symptoms.add("validation-gap")
    return Course(
        steps=record.steps,
        start=progress.start,
        first=first,
        last=last,
        best=best,
        prior=prior,
        prior_name=progress.prior_name,
        validation=validation,
        still_falls=progress.fall > FALLING,
        symptoms=frozenset(symptoms),
    )


def _has_diverged(progress: Progress) -> bool:
    first, last, best = progress.first, progress.last, progress.best
    if best <= 0 or not progress.prior:
        return first > 0 and best > 0 and last > RUNAWAY * first
    return last > DIVERGED * max(best, NOISE * progress.prior) and last > 0.5 * min(first, progress.prior)


def _is_comparable(record: Record) -> bool:
    """Do training and evaluation use one and the same loss function, so that their values can be compared?"""
    functions = {loss["fn"] for what in ("train", "eval") for phase in record.phases(what) for loss in phase.losses}
    return len(functions) == 1
