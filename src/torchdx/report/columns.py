"""The columns of a table, those that differ most from what a network likes first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torchdx.report.values import one_line, span_of, spread
from torchdx.report.words import number


@dataclass(frozen=True)
class Column:
    """One column: its name, and what was measured of it."""

    name: str
    fact: Mapping[str, Any]
    constant: bool = False

    @property
    def size(self) -> float:
        """The root of the mean square of its numbers; NaN where it is not known."""
        mean, deviation = self.fact.get("mean"), self.fact.get("std")
        if mean is None or deviation is None:
            return math.nan
        return math.hypot(mean, deviation)

    @property
    def spread(self) -> str:
        """Mean and deviation."""
        return spread(self.fact)

    @property
    def span(self) -> str:
        """From its least to its greatest number."""
        return span_of(self.fact)

    @property
    def remark(self) -> str:
        """What is to be said of it beyond its numbers."""
        if bad := self.fact.get("nonfinite"):
            return f"{number(bad)} not finite"
        if self.constant:
            return "always the same"
        distinct = self.fact.get("distinct")
        return f"{number(distinct)} values" if distinct is not None and distinct <= FEW else ""

    @property
    def oddity(self) -> tuple[bool, bool, float]:
        """The greater, the sooner it is shown: not finite, constant, or decades away from a size of one."""
        size = self.size
        away = abs(math.log10(size)) if size > 0 and math.isfinite(size) else 0.0
        return bool(self.fact.get("nonfinite")), self.constant, away


FEW = 10
"""Different values up to which it is said how many they are."""


def told_first(fact: Mapping[str, Any]) -> list[Column]:
    """The columns of a `columns` fact, the oddest first."""
    names = fact.get("names") or []
    constant = set(fact.get("constant") or ())
    found = [
        Column(one_line(names[k]) if k < len(names) and names[k] is not None else f"column {k}", each, k in constant)
        for k, each in enumerate(fact.get("columns") or ())
    ]
    return sorted(found, key=lambda column: column.oddity, reverse=True)
