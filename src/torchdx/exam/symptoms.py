"""Symptoms: what a person would notice of a run, put on a scale that has a meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torchdx.record import Record, Series

ENOUGH_STEPS = 30
"""Optimizer steps below which learning is not judged: the healthy zoo's slowest learner is off its prior by then."""

LEARNT = 0.98
"""Share of the prior's loss below which a model has learnt something (catalogue, row 88)."""

DIVERGED = 2.0
"""A loss this many times its best, to the end, has diverged (TheDeepChecker; catalogue, row 67)."""


@dataclass(frozen=True)
class Course:
    """How training went: where the loss began and ended, and what a model that sees no inputs would reach.

    `prior` is that loss, in the loss's own unit: H(Y) for a classifier, the targets' variance for squared errors.
    None where the loss has no such scale.
    """

    steps: int
    first: float = math.nan
    last: float = math.nan
    best: float = math.nan
    prior: float | None = None
    prior_name: str = ""
    validation: Series = field(default_factory=Series)
    symptoms: frozenset[str] = frozenset()

    @property
    def evidence(self) -> Mapping[str, Any]:
        """The numbers, named for a person."""
        told: dict[str, Any] = {"steps": self.steps, "training loss at first": self.first, "training loss": self.last}
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
    if best > 0 and last > DIVERGED * max(best, 1e-3) and last > 0.5 * first:
        symptoms.add("diverged")
    validation = record.validation_loss().finite
    return Course(record.steps, first, last, best, prior, progress.prior_name, validation, frozenset(symptoms))
