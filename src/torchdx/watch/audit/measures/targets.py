"""What samples are to be answered with: classes and how often each occurs, or numbers and how they spread."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any

from torchdx.watch.audit.pool import Pool
from torchdx.watch.audit.subjects import Subject

KINDS = 1000
"""Different labels up to which they are counted."""

BATCHES = 64


def classes_of(pool: Pool) -> list[Any] | None:
    """The class of each sample; None where targets are no classes."""
    labels = [_class_of(label) for label in pool.labels]
    if not labels or any(label is None for label in labels):
        return None
    few = len(set(labels)) <= min(KINDS, max(2, len(labels) // 3))
    return labels if few else None


def numbers_of(pool: Pool) -> list[list[float]] | None:
    """The target of each sample as a list of real numbers; None where they are classes, maps, or absent."""
    if classes_of(pool) is not None:
        return None
    lists = [label if isinstance(label, list) else [label] for label in pool.labels]
    fit = all(one and all(isinstance(n, int | float) for n in one) for one in lists)
    return lists if fit and len({len(one) for one in lists}) == 1 else None


def _class_of(label: Any) -> Any:
    if isinstance(label, bool | int | str):
        return label
    if isinstance(label, float):
        return label if label.is_integer() and abs(label) < KINDS else None
    if isinstance(label, list) and len(label) > 1 and all(one in (0, 1) for one in label) and sum(label) == 1:
        return label.index(1)
    return None


def labels(pool: Pool, subject: Subject) -> dict[str, Any] | None:
    """How often each class occurs and how batches hold them, or how the numbers spread."""
    kinds = classes_of(pool)
    told: dict[str, Any] = {"samples": len(pool), **pool.target_kind}
    if kinds is not None:
        one_hot = isinstance(pool.labels[0], list)
        told |= {"what": "one-hot" if one_hot else "class", "counts": dict(Counter(str(one) for one in kinds))}
        if all(isinstance(one, int | float) for one in kinds):
            told |= {"min": min(kinds), "max": max(kinds)}
        size = getattr(subject.thing, "batch_size", None)
        return told | ({"order": order} if (order := _order(kinds, size)) else {})
    numbers = numbers_of(pool)
    if numbers is None:
        return None
    flat = [float(n) for one in numbers for n in one if math.isfinite(n)]
    if not flat:
        return None
    several = len(numbers[0]) > 1 and set(flat) <= {0.0, 1.0}
    told |= {"what": "many" if several else "number", "min": min(flat), "max": max(flat)}
    return told | {"mean": fmean(flat), "std": pstdev(flat)}


def _order(kinds: Sequence[Any], size: int | None) -> dict[str, float] | None:
    """Nats of labels within batches in the order of the data, and within batches of shuffled samples."""
    if not size or size < 2 or len(kinds) < 4 * size or len(set(kinds)) < 2:
        return None
    shuffled = random.Random(0).sample(list(kinds), len(kinds))
    told = {"batches": min(BATCHES, len(kinds) // size), "whole": _entropy(kinds)}
    told["entropy"], told["expected"] = (_within(order, size) for order in (kinds, shuffled))
    return told


def _within(kinds: Sequence[Any], size: int) -> float:
    places = range(0, len(kinds) - size + 1, size)
    step = max(1, len(places) // BATCHES)
    return fmean(_entropy(kinds[start : start + size]) for start in places[::step])


def _entropy(kinds: Sequence[Any]) -> float:
    return -sum(n / len(kinds) * math.log(n / len(kinds)) for n in Counter(kinds).values())
