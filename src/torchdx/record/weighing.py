"""What a loss makes of the classes' frequencies: their weights, and which of them count."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torchdx.record import Answers, Record

UNEVEN, ALIKE, COUNTED = 2.0, 1.3, 20
"""Times that the commonest label is as frequent as the rarest, and times that weights over counts may differ, for
weights that are the frequencies themselves; and labels that the rarest has, to be counted so well."""

POWER = 0.3
"""Least power of the frequencies of three or more classes that their weights are, where they should fall with them:
tempered weights that balance read -1 to -0.3, a sick program 0.5."""


def weights_of(record: Record, group: Answers) -> list[float]:
    """What each of the labels' classes weighs in this loss; nothing where that is not known."""
    labels = group.counts("wanted")
    uses = [use for use in record.losses_called(group.function) if use.site == group.site]
    if not uses or len(labels) < 2:
        return []
    told, positive = uses[0].option("weight"), uses[0].option("pos_weight")
    if isinstance(positive, list) and len(positive) == 1 and len(labels) == 2:
        told = [1.0, *positive]
    return told if isinstance(told, list) and len(told) > max(labels) else []


def go_with_frequency(weights: list[float], wanted: Mapping[int, int]) -> bool:
    """Is each class's weight its own frequency, or a power of it, but for a factor, where it should be one over it?"""
    most, least = max(wanted, key=wanted.__getitem__), min(wanted, key=wanted.__getitem__)
    if wanted[most] <= UNEVEN * wanted[least] or wanted[least] < COUNTED or min(weights[one] for one in wanted) <= 0:
        return False
    power = math.log(weights[most] / weights[least]) / math.log(wanted[most] / wanted[least])
    tempered = power if len(wanted) > 2 and power > POWER else 1.0
    shares = [weights[label] / math.pow(count, tempered) for label, count in wanted.items()]
    return 0 < max(shares) < ALIKE * min(shares)


def only_weighed(record: Record, group: Answers) -> int | None:
    """The one class of those that occur whose weight is not 0."""
    weights = weights_of(record, group)
    counted = [label for label in group.counts("wanted") if weights and weights[label]]
    return counted[0] if len(counted) == 1 else None


def overweighed(record: Record, group: Answers, since: int) -> tuple[int, float, float] | None:
    """The class that weighs most, if its labels are the fewer: over all the others, and how many times too often given.

    The weight is that of all its labels together, as many as there are; answers count after a step.
    """
    wanted, given = group.counts("wanted"), group.since(since).counts("predicted")
    weights = weights_of(record, group)
    if not weights or not given:
        return None
    mass = {label: weights[label] * count for label, count in wanted.items()}
    top, whole = max(mass, key=mass.__getitem__), sum(mass.values())
    share = wanted[top] / sum(wanted.values())
    if share > 0.5 or whole <= mass[top]:
        return None
    return top, mass[top] / (whole - mass[top]), given[top] / sum(given.values()) / share
