"""Symptoms: what a person would notice of a run, put on a scale that has a meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torchdx.record import LossUse, Record, Series

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
    use = main_loss(record)
    series = loss_series(record, use)
    finite = series.finite
    if not finite:
        return Course(record.steps, symptoms=frozenset({"non-finite"} if record.nonfinite else ()))
    window = max(1, min(len(finite) // 10, 50))
    first, last = finite.earliest(min(window, 5)).mean, finite.latest(window).mean
    best = _smoothed_best(finite, window)
    prior, name = prior_of(record, use)
    symptoms = set()
    if record.nonfinite or len(finite) < len(series):
        symptoms.add("non-finite")
    if record.steps >= ENOUGH_STEPS and prior and prior > 0 and last > LEARNT * prior:
        symptoms.add("not-learning")
    if best > 0 and last > DIVERGED * max(best, 1e-3) and last > 0.5 * first:
        symptoms.add("diverged")
    validation = record.validation_loss().finite
    if len(validation) >= 3 and validation.last > validation.lowest * 1.1 and last < validation.last * 0.7:
        symptoms.add("validation-gap")
    return Course(record.steps, first, last, best, prior, name, validation, frozenset(symptoms))


def main_loss(record: Record) -> LossUse | None:
    """The loss that training is judged by: the classifier's if there is one, else the one called most."""
    if record.classification:
        return record.classification
    return next((use for use in record.losses if any(True for _ in use.calls())), None)


def loss_series(record: Record, use: LossUse | None) -> Series:
    """The training loss over steps: the objective, or the loss calls' own values where the objective is scaled."""
    if record.objective:
        return record.objective
    return use.series() if use else Series()


def prior_of(record: Record, use: LossUse | None) -> tuple[float | None, str]:
    """The loss of a model that sees no inputs, and what that number is called; None where the loss has no scale."""
    if use is None or use.option("weight") is not None or len({u.function for u in record.losses}) > 1:
        return None, ""
    if use is record.classification:
        return record.label_entropy, "label entropy H(Y)"
    if use.function == "mse_loss":
        spreads = [look["target"].get("std") for look in use.calls() if look["target"].get("std")]
        if spreads:
            return sum(s * s for s in spreads) / len(spreads), "variance of the targets"
    if use.function.startswith("binary_cross_entropy"):
        return _binary_entropy(use), "label entropy H(Y)"
    return None, ""


def _binary_entropy(use: LossUse) -> float | None:
    looks = [look["target"] for look in use.calls() if look["target"].get("mean") is not None]
    crisp = all(abs(t["std"] ** 2 - t["mean"] * (1 - t["mean"])) < 1e-3 for t in looks)
    share = sum(t["mean"] for t in looks) / len(looks) if looks else 0.0
    if not crisp or not 0 < share < 1:
        return None
    return -share * math.log(share) - (1 - share) * math.log(1 - share)


def _smoothed_best(series: Series, window: int) -> float:
    values = series.values
    means = [sum(values[k : k + window]) / window for k in range(0, len(values) - window + 1, window)]
    return min(means, default=series.lowest)
