"""Rules about learning rates and schedules, and how a rate is rewritten."""

from __future__ import annotations

import ast
import math
from statistics import median
from typing import TYPE_CHECKING

from torchdx.source import edits
from torchdx.source.written import number_written

if TYPE_CHECKING:
    from torchdx.finding import Finding, Fix
    from torchdx.record import Record, Series
    from torchdx.source import Call, Program

FEWEST = 5
"""Losses before the first that is no number, from which its course is read."""

_STRETCH = 5
"""Losses in a row of which the median tells how high the loss is."""


def rounded_rate(rate: float) -> float:
    """The nearest of 1 and 3 times a power of ten."""
    power = math.floor(math.log10(rate))
    near = [digit * 10.0**exponent for exponent in (power, power + 1) for digit in (1, 3)]
    return min(near, key=lambda other: abs(math.log(other / rate)))


def with_rate(program: Program, finding: Finding, title: str) -> Fix | None:
    """Write the finding's `proposed lr` where its optimizer's rate is written; None where that is not certain."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call):
        return None
    call: Call = program.expression(file, node)  # type: ignore[assignment]
    rate, text = finding.evidence["lr"], f"{finding.evidence['proposed lr']:g}"
    given = call.argument(1, "lr")
    if given is None:
        return edits.fix(title, file, [edits.insert_keyword(file, node, f"lr={text}")]) if call.is_certain else None
    place = number_written(given, rate)
    return edits.fix(title, place[0], [edits.replace(*place, text)]) if place else None


def rose_before_overflow(record: Record) -> bool:
    """Did the loss leave its course before it was no number, as it does where steps are too large?

    Where one operation made the first one out of finite values, in a loss that went down as ever, its input did it.
    """
    found = next(iter(record.nonfinite), None)
    if found is None or (found.get("origin") or {}).get("cause") not in ("operation", "input"):
        return True
    before = record.objective.between(0, found["step"] - 1).finite
    return len(before) < FEWEST or before.latest(FEWEST).highest > before.first


def nine_in_ten(values: Series) -> float:
    """What one look in ten exceeds."""
    return sorted(values.finite.values)[int(0.9 * (len(values.finite) - 1))]


def leap(record: Record) -> float:
    """The highest of the early losses over the first; 0 where the first is not positive."""
    loss = record.objective.between(record.latest_start + 1, record.steps)
    early = loss.finite.between(0, record.latest_start + max(10, (record.steps - record.latest_start) // 10)).highest
    return early / loss.first if loss.first > 0 else 0.0


def climb(loss: Series, share: float) -> tuple[float, float]:
    """From where to where a loss climbed most, in ratio, to at least this share of its first value.

    It is the median of five losses each that is looked at; (0, 0) where there are too few, or they have a sign.
    """
    values = loss.values
    if len(values) < 4 * _STRETCH or loss.lowest <= 0:
        return 0.0, 0.0
    lowest, found = loss.first, (loss.first, loss.first)
    for start in range(len(values) - _STRETCH + 1):
        now = median(values[start : start + _STRETCH])
        lowest = min(lowest, now)
        if now >= share * loss.first and now / lowest > found[1] / found[0]:
            found = (lowest, now)
    return found
