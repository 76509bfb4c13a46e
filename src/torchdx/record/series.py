"""A measure over training steps, and the questions rules ask of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from statistics import median, stdev


@dataclass(frozen=True)
class Series:
    """Values of one measure with the optimizer step each was taken at, in order of time."""

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, pairs: Iterator[tuple[int, float | None]]) -> Series:
        """Keep the pairs whose value was measured at all."""
        kept = [(step, float(value)) for step, value in pairs if value is not None]
        return cls(tuple(step for step, _ in kept), tuple(value for _, value in kept))

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return iter(zip(self.steps, self.values, strict=True))

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def finite(self) -> Series:
        """Without its NaNs and infinities."""
        return self.where(math.isfinite)

    @property
    def first(self) -> float:
        """The earliest value; NaN if there is none."""
        return self.values[0] if self.values else math.nan

    @property
    def last(self) -> float:
        """The latest value; NaN if there is none."""
        return self.values[-1] if self.values else math.nan

    @property
    def lowest(self) -> float:
        """The least finite value; NaN if there is none."""
        return min(self.finite.values, default=math.nan)

    @property
    def highest(self) -> float:
        """The greatest finite value; NaN if there is none."""
        return max(self.finite.values, default=math.nan)

    @property
    def mean(self) -> float:
        """The mean of the finite values; NaN if there is none."""
        values = self.finite.values
        return sum(values) / len(values) if values else math.nan

    @property
    def error(self) -> float:
        """The standard error of that mean; infinite where fewer than two finite values tell of it."""
        values = self.finite.values
        return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf

    @property
    def median(self) -> float:
        """The median of the finite values; NaN if there is none."""
        values = self.finite.values
        return median(values) if values else math.nan

    def where(self, holds: Callable[[float], bool]) -> Series:
        """Only the values of which this holds."""
        return Series.of((step, value) for step, value in self if holds(value))

    def between(self, first: int, last: int) -> Series:
        """Only the steps from `first` to `last`, both included."""
        return Series.of((step, value) for step, value in self if first <= step <= last)

    def earliest(self, count: int) -> Series:
        """The first `count` values."""
        return Series(self.steps[:count], self.values[:count])

    def latest(self, count: int) -> Series:
        """The last `count` values."""
        return Series(self.steps[-count:], self.values[-count:]) if count else Series()

    def lasts(self, count: int, *, above: float = -math.inf, below: float = math.inf) -> bool:
        """Is there a stretch of `count` looks in a row, all strictly between the bounds?"""
        return self.longest(above=above, below=below) >= count

    def longest(self, *, above: float = -math.inf, below: float = math.inf) -> int:
        """How many looks in a row, at most, lie strictly between the bounds."""
        inside = (above < value < below for value in self.values)
        return max((sum(1 for _ in run) for yes, run in groupby(inside) if yes), default=0)

    def share(self, *, above: float = -math.inf, below: float = math.inf) -> float:
        """Which share of the looks lies strictly between the bounds; 0 if there was no look."""
        return sum(above < value < below for value in self.values) / len(self) if self else 0.0

    def thinned(self, count: int) -> Series:
        """At most `count` values, evenly spaced, the first and the last among them."""
        if len(self) <= count:
            return self
        picks = sorted({round(k * (len(self) - 1) / (count - 1)) for k in range(count)})
        return Series(tuple(self.steps[k] for k in picks), tuple(self.values[k] for k in picks))
