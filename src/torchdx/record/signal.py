"""How much of the differences between samples reaches each layer at the start of training."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median, median_high, median_low
from typing import TYPE_CHECKING

from torchdx.record.anatomy import Layer, Parameter

if TYPE_CHECKING:
    from torchdx.record import Record


_OF_TORCH = ("Linear", "Conv", "LSTM", "GRU", "RNN")


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

    def as_far_as_it_falls(self, deep: int, gone: float) -> Signal:
        """The signal up to its lowest place, where nothing is left there: dropout after it tells samples apart again.

        The whole of it where it is steady, or falls less, or in fewer layers.
        """
        end = min(range(len(self.across)), key=self.across.__getitem__) + 1
        fallen = Signal(self.layers[:end], self.across[:end])
        return fallen if end >= deep and fallen.ratio < gone and fallen.is_steady and not self.is_steady else self

    @property
    def is_steady(self) -> bool:
        """Do nearly all layers take part in the loss or the growth, and none for more than half of it?"""
        total = math.log(self.ratio) if self.slopes else 0.0
        if not total:
            return False
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
    for rows in _joined(seen):
        across = list(rows.values())
        if len(across) >= deep and all(0 < value < math.inf for value in across):
            found.append(Signal([record.process.layers[key] for key in rows], across))
    return found


def _joined(seen: dict[int, dict[str, float]]) -> list[dict[str, float]]:
    """The layers of each model, and of two that are used one after the other, as an encoder and a decoder are."""
    rows = list(seen.values())
    return [*rows, rows[0] | rows[1]] if len(rows) == 2 else rows


def starts_of(layers: Sequence[Layer]) -> list[float]:
    """What each matrix or kernel of these layers multiplies inputs of deviation 1 by, as it was first seen."""
    weights = [p for layer in layers for p in layer.parameters if p.is_weight and not p.loaded and _inputs(p) > 1]
    return [p.initial["std"] * math.sqrt(_inputs(p)) for p in weights if p.initial.get("std")]


def _inputs(weight: Parameter) -> int:
    """Over how many inputs it sums up: of a matrix in a class of the user's own, either side may be the inputs'."""
    return weight.inputs if weight.kind.startswith(_OF_TORCH) else min(weight.shape)


def odd_start(record: Record, fewest: int, least: float, most: float) -> tuple[Layer, list[float]] | None:
    """The first of a model's layers that starts too small or large, where half of so many do, and all."""
    models: dict[int, list[Layer]] = defaultdict(list)
    for layer in record.layers:
        models[layer.model].append(layer)
    for layers in models.values():
        starts = starts_of(layers)
        if len(starts) >= fewest and (median_low(starts) > most or median_high(starts) < least):
            return next(one for one in layers if any(not least <= start <= most for start in starts_of([one]))), starts
    return None
