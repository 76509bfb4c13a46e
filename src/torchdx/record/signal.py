"""How much of the differences between samples reaches each layer at the start of training."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from torchdx.record.anatomy import Layer

if TYPE_CHECKING:
    from torchdx.record import Record


@dataclass(frozen=True)
class Signal:
    """The layers of one model that have weights, in order of use, and how far samples differ in the output of each."""

    layers: Sequence[Layer]
    across: Sequence[float]

    @property
    def ratio(self) -> float:
        """Of the last layer, over that of the first."""
        return self.across[-1] / self.across[0]

    @cached_property
    def slopes(self) -> list[float]:
        """The logarithm of what each layer after the first multiplies the signal by."""
        return [math.log(after / before) for before, after in zip(self.across, self.across[1:], strict=False)]

    @property
    def slope(self) -> float:
        """What a layer multiplies the signal by, as a rule."""
        return math.exp(median(self.slopes))

    @property
    def is_steady(self) -> bool:
        """Do nearly all layers take part in the loss or the growth, and none for more than half of it?"""
        total = math.log(self.ratio)
        same = sum(slope * total > 0 for slope in self.slopes)
        most = 0.5 if len(self.slopes) > 2 else 0.65
        return same >= 0.8 * len(self.slopes) and max(slope / total for slope in self.slopes) <= most


def signals_of(record: Record, deep: int) -> list[Signal]:
    """The signal through each model with at least so many layers of weights, where all of it was measured.

    Only each layer's first look counts: a few steps at too high a rate, and what is measured is their work.
    """
    seen: dict[int, dict[str, float]] = defaultdict(dict)
    for fact in record.process.all("signal"):
        for key, value in fact["layers"].items():
            layer = record.process.layers.get(key)
            if layer is not None and any(p.is_weight for p in layer.parameters):
                seen[layer.model].setdefault(key, value)
    found = []
    for rows in seen.values():
        across = list(rows.values())
        if len(across) >= deep and all(0 < value < math.inf for value in across):
            found.append(Signal([record.process.layers[key] for key in rows], across))
    return found
