"""An objective that falls ever further below zero, and comes to no end."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from torchdx.record import Record

_FIRST, _STRETCHES, _ENOUGH, _FALLS = 5, 4, 40, 1.3


def depth(record: Record) -> float | None:
    """How many times its first size what is minimised ends below zero; None where there is too little to tell."""
    values = [value for _, value in record.objective.finite]
    if len(values) < _ENOUGH:
        return None
    return -median(values[-_FIRST:]) / max(1.0, *(abs(value) for value in values[:_FIRST]))


def falls_for_ever(record: Record, least: float) -> bool:
    """Does it end so deep below zero, the last half of the way in one fall that does not slow down?"""
    far = depth(record)
    if far is None or far < least:
        return False
    values = [value for _, value in record.objective.finite]
    late = values[len(values) // 2 :]
    size = max(1, len(late) // _STRETCHES)
    means = [median(late[place : place + size]) for place in range(0, size * _STRETCHES, size)]
    return all(one > two for one, two in pairwise(means)) and means[-1] < _FALLS * means[0]
