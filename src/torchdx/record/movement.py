"""How the weights of one optimizer move: the gradients they get, and how large its steps are beside them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from torchdx.record.anatomy import Optimizer, Parameter
from torchdx.record.series import Series

if TYPE_CHECKING:
    from torchdx.record import Record


@dataclass(frozen=True)
class Movement:
    """The trainable matrices and kernels that an optimizer steps, in the model's order; biases and embeddings left out.

    A parameter that starts at zero is left out too, as any step is large beside it: such are `blank`. `own` holds the
    objective at this optimizer's steps alone, as those of a GAN take turns.
    """

    optimizer: Optimizer
    weights: Sequence[Parameter]
    norm: Series
    objective: Series
    scale: float
    blank: Sequence[Parameter] = ()
    own: Series = field(default_factory=Series)

    @cached_property
    def ratio(self) -> Series:
        """RMS of the step over RMS of the weight: the median over the weights, at each look."""
        return _at_each_look(self.weights, lambda weight: weight.update_ratio, median)

    @cached_property
    def stride(self) -> Series:
        """RMS of the step times the root of a weight's inputs: the median over the weights, at each look.

        It is what a step whose signs are unrelated adds to outputs, where inputs are of size 1.
        """
        return _at_each_look(self.weights, lambda w: Series.of((s, v * w.inputs**0.5) for s, v in w.update), median)

    @cached_property
    def growth(self) -> float:
        """How many times their first size the weights are in the end: the median over them; NaN if never finite."""
        sizes = [(weight.value.first, weight.value.finite.last) for weight in self.weights]
        times = [last / first for first, last in sizes if first > 0 and last == last]
        return median(times) if times else math.nan

    @cached_property
    def pull(self) -> Series:
        """How many per cent the loss would change, at most, if every weight changed by one per cent.

        The sum over weights of |g| |w| / L, with L the loss, or that of a model that sees no inputs if it is greater.
        A net of d layers that is in order has about d; backpropagation through layers that amplify makes it explode.
        """
        losses = dict(self.objective)
        sums: dict[int, float] = defaultdict(float)
        for weight in self.weights:
            for step, share in self.pull_of(weight):
                sums[step] += share
        return Series.of((s, v / max(abs(losses[s]), self.scale)) for s, v in sorted(sums.items()) if s in losses)

    @cached_property
    def prospect(self) -> Series:
        """The pull of what starts at zero, were it of the size that a weight of so many inputs begins with."""
        sums: dict[int, float] = defaultdict(float)
        for weight in self.blank:
            for step, size in weight.gradient:
                sums[step] += size * math.prod(weight.shape) / weight.inputs**0.5
        losses = dict(self.objective)
        return Series.of((s, v / max(abs(losses[s]), self.scale)) for s, v in sorted(sums.items()) if s in losses)

    @staticmethod
    def pull_of(weight: Parameter) -> Series:
        """|g| |w| of one weight."""
        value, count = dict(weight.value), math.prod(weight.shape)
        return Series.of((step, size * value[step] * count) for step, size in weight.gradient if step in value)

    @cached_property
    def spread(self) -> Series:
        """The least RMS gradient over the greatest among the weights, at each look that saw several."""
        least = _at_each_look(self.weights, lambda weight: weight.gradient, min)
        most = dict(_at_each_look(self.weights, lambda weight: weight.gradient, max))
        return Series.of((step, low / most[step]) for step, low in least if len(self.weights) > 1 and most[step] > 0)

    def spikes(self, trailing: int = 50, after: int = 3) -> Series:
        """The gradient norm over the median of up to `trailing` looks before, once there are `after` of them."""
        steps, values = self.norm.finite.steps, self.norm.finite.values
        pairs = ((steps[k], values[k], median(values[max(0, k - trailing) : k])) for k in range(after, len(values)))
        return Series.of((step, value / usual) for step, value, usual in pairs if usual > 0)


def movements_of(record: Record) -> list[Movement]:
    """One for each optimizer whose steps were looked at."""
    found = []
    for optimizer in record.optimizers:
        held = optimizer.parameter_ids
        looks = [fact for fact in record.process.all("gradients") if fact.get("optimizer") == optimizer.id]
        own_looks = {fact["step"] for fact in looks}
        stepped = [_at(own_looks, weight) for weight in record.weights if weight.id in held]
        weights = [w for w in stepped if w.gradient and w.initial.get("std") != 0]
        blank = [w for w in stepped if w.gradient and w.initial.get("std") == 0]
        norm = Series.of((fact["step"], fact.get("norm")) for fact in looks)
        if weights:
            scale = max(record.progress.prior or 0.0, 1e-12)
            steps = [fact for fact in record.process.all("step") if fact.get("optimizer") == optimizer.id]
            own = Series.of((fact["n"], fact.get("objective")) for fact in steps)
            found.append(Movement(optimizer, weights, norm, record.objective.finite, scale, blank, own))
    return found


def _at(steps: Set[int], weight: Parameter) -> Parameter:
    """The weight as it was seen at these steps: an earlier or later optimizer may hold it, too."""
    return replace(weight, looks=[look for look in weight.looks if look[0] in steps])


def _at_each_look(
    weights: Sequence[Parameter], series_of: Callable[[Parameter], Series], pick: Callable[[list[float]], float]
) -> Series:
    """One number for all weights, at each look where every one of them is finite."""
    rows: dict[int, list[float]] = defaultdict(list)
    for weight in weights:
        for step, value in series_of(weight):
            rows[step].append(value)
    return Series.of((step, pick(row)) for step, row in sorted(rows.items()) if all(map(math.isfinite, row)))
