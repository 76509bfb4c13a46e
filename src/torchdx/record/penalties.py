"""Penalties that are terms of an objective: how much of it they were over the run, and what became of the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING

from torchdx.record.progress import prior_of
from torchdx.record.series import Series

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.anatomy import LossUse
    from torchdx.record.facts import Fact

ENOUGH = 12
"""Looks of which the last quarter tells how a run ended."""

PHASES = 3
"""Training phases of which the last tells the same: of fewer, it may be all of the run."""

SAME = 1.25
"""Times that what is left of the objective may be the loss function's own value, and be that."""


@dataclass(frozen=True)
class Penalties:
    """`looks` are the facts; all else is told from them, and from the loss functions' values."""

    record: Record
    looks: list[Fact]

    @property
    def active(self) -> bool:
        """Is one of them on activations?"""
        return any(look.get("activations") for look in self.looks)

    @property
    def evaluations(self) -> int:
        """How often the objective was evaluated, at most: a step of L-BFGS does so several times."""
        inner = (optimizer.option("max_iter") or 1 for optimizer in self.record.optimizers)
        return self.record.steps * max(inner, default=1)

    @property
    def middle(self) -> float:
        """The penalty over the loss, in the middle one of the looks."""
        times = [look["penalty"] / look["losses"] for look in self.looks if look["losses"] > 0]
        return median(times) if times else 0.0

    @property
    def at_first(self) -> float:
        """The penalty over the loss, at the first look."""
        look = self.looks[0] if self.looks else None
        return float(look["penalty"] / look["losses"]) if look and look["losses"] > 0 else 0.0

    @property
    def left(self) -> float:
        """What is left of the penalty in the end: a share of what it was at first; 1 where that is not known."""
        first = self.looks[0]["penalty"] if self.looks else 0.0
        return float(median(look["penalty"] for look in self._last)) / first if first > 0 and self._last else 1.0

    @property
    def over_blind(self) -> float:
        """The penalty in the end over what the loss is of a model that sees no inputs; 0 where that is not known.

        Beyond 1, no weights at all would be better, by the objective's own reckoning.
        """
        blind, values = self._blind, dict(self._use.series()) if self._use is not None else {}
        shares = [look["losses"] / values[look["step"]] for look in self.looks if values.get(look["step"])]
        if not blind or not self._last or not shares or not 1 / SAME < median(shares) < SAME:
            return 0.0
        return float(median(look["penalty"] for look in self._last)) / blind

    @property
    def factor(self) -> float:
        """The penalty over the sum of the squares of at least two weight matrices, at first; 0 where not known."""
        weights = [weight for movement in self.record.movements for weight in movement.weights]
        sizes = [(dict(weight.value), math.prod(weight.shape)) for weight in weights]
        for look in self.looks[:PHASES] if len(weights) > 1 and not self.active else ():
            squares = sum(values.get(look["step"], 0.0) ** 2 * count for values, count in sizes)
            if squares > 0:
                return float(look["penalty"] / squares)
        return 0.0

    @property
    def in_the_end(self) -> float:
        """The penalty over the loss, in the last quarter of the looks; 0 where these are few."""
        times = [look["penalty"] / look["losses"] for look in self._last if look["losses"] > 0]
        return median(times) if times else 0.0

    @property
    def own(self) -> Series:
        """The mean of the loss on the data in each training phase; what is left of the objective, where none is."""
        phases = Series.of((phase.last_step, phase.loss) for phase in self.record.phases("train"))
        return phases if phases.finite else Series.of((look["step"], look["losses"]) for look in self.looks)

    @property
    def fall(self) -> float:
        """By which share the loss on the data fell to its last mean, from its first value or, if that is less, from
        that of a model that sees no inputs; 1 if not known.
        """
        use, phases = self._use, [phase.loss for phase in self.record.phases("train")]
        first = use.series().finite.earliest(3).mean if use is not None else math.nan
        last = (phases[-1] if phases else None) or math.nan
        if last != last or (len(phases) < PHASES and self._last):
            if not self._last or min(look["losses"] for look in self.looks) <= 0:
                return 1.0
            last = mean(look["losses"] for look in self._last)
            first = mean(look["losses"] for look in self.looks[:PHASES])
        first = min(first, self._blind or math.inf)
        return 1 - last / first if first > 0 and last == last else 1.0

    @property
    def _last(self) -> list[Fact]:
        return self.looks[-(len(self.looks) // 4) :] if len(self.looks) >= ENOUGH else []

    @property
    def _use(self) -> LossUse | None:
        return max(self.record.losses, key=lambda use: sum(1 for _ in use.calls()), default=None)

    @property
    def _blind(self) -> float | None:
        use = self._use
        return prior_of(self.record, use)[0] if use is not None and use.option("reduction") != "sum" else None
