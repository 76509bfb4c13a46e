"""How a schedule of the learning rate was planned, and how it was followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from torchdx.finding import Site
from torchdx.record.anatomy import site_of
from torchdx.record.series import Series

if TYPE_CHECKING:
    from torchdx.record import Record

LENGTHS = {"OneCycleLR": "total_steps", "CosineAnnealingLR": "T_max", "LinearLR": "total_iters"}
LENGTHS |= {"PolynomialLR": "total_iters", "StepLR": "step_size"}
"""The option that says how many calls a scheduler's course takes; of StepLR, one stretch of it."""

_SEEN = 0.8
"""Share of the steps up to which the rate must have been seen; of weights moved by hand it is at looks alone."""
_FALLING, _BENT = 10, 0.55
"""Different rates at least, and the share of a fall in its first half, up to which it is no slowing one."""


@dataclass(frozen=True)
class Schedule:
    """A scheduler and what became of it in a run.

    `made_at` is where it was made, `site` where it was first stepped. `calls` counts its steps; `position` is where it
    stood in its course in the end, which a resumed run does not begin at zero. `rate` is the learning rate of its
    optimizer's first group over that optimizer's steps, `base` the one that it was made with, and `steps` how many of
    those there were from its first call to its last; `epoch` is how many there are in a pass of the training data,
    where a loader tells.
    """

    cls: str
    options: Mapping[str, Any]
    made_at: Site | None
    site: Site | None
    calls: int
    position: float
    first_step: int
    last_step: int
    steps: int
    epoch: float | None
    alone: bool
    rate: Series = field(repr=False)
    base: float | None = None

    @property
    def planned(self) -> int | None:
        """How many calls its course takes; None where it has no end, or none that it was told."""
        told = self.options.get(LENGTHS.get(self.cls, ""))
        return int(told) if isinstance(told, int | float) and told > 0 else None

    @property
    def steps_a_call(self) -> float:
        """How many steps of the optimizer were taken from one call to the next; below 1 in accumulation."""
        return self.steps / (self.calls - 1) if self.calls > 1 else float(self.steps)

    @property
    def length(self) -> float:
        """How many steps the optimizer took in all of its calls."""
        return self.steps_a_call * self.calls

    @property
    def epochs(self) -> float | None:
        """How many times the training data were passed through in these steps."""
        return self.length / self.epoch if self.epoch else None

    def falls_below(self, share: float) -> float:
        """After which share of its steps the rate stays below this share of its highest; 1 if it never does."""
        above = [step for step, left in self.left if left >= share]
        return (above[-1] - self.first_step) / self.length if above and self.length > 0 else 1.0

    @property
    def share(self) -> float | None:
        """Which share of its course it has passed; above 1 where it was followed beyond its end."""
        return self.position / self.planned if self.planned else None

    @cached_property
    def left(self) -> Series:
        """The rate over its highest, from the first call on."""
        rate = self.rate.finite.between(self.first_step, self.last_step + max(1, round(self.steps_a_call)))
        top = rate.highest
        return Series.of((step, value / top) for step, value in rate) if top > 0 else Series()

    @property
    def falls_to_the_end(self) -> bool:
        """Does the rate fall from its highest on, in a straight line or ever faster, as to an end that is planned?

        A fall that slows down, as an exponential or the root of the steps, has none.
        """
        left = self.left
        peak = max((step for step, value in left if value == left.highest), default=0)
        fall = left.between(peak, left.steps[-1]) if left else left
        if len(set(fall.values)) < _FALLING or 2 * peak > left.steps[-1]:
            return False
        middle = fall.between(peak, (peak + left.steps[-1]) // 2).last
        return all(later <= now for now, later in pairwise(fall.values)) and 1 - middle <= _BENT * (1 - left.last)


def schedules_of(record: Record) -> Sequence[Schedule]:
    """Every scheduler that was stepped, in a run that could say so at its end."""
    made = {fact["id"]: fact for fact in record.process.all("scheduler") if "id" in fact}
    bases = {str(optimizer.id): optimizer.option("initial_lr") for optimizer in record.optimizers}
    followed = [fact for fact in record.process.all("schedule") if fact.get("calls") and fact["id"] in made]
    steps = [fact for fact in record.process.all("step") if fact.get("lr") is not None]
    found = []
    for fact in followed:
        own = [step for step in steps if step.get("optimizer") == fact.get("optimizer")]
        told = made[fact["id"]]
        others = {step.get("optimizer") for step in steps if fact["first_step"] < step["n"] <= fact["last_step"]}
        found.append(
            Schedule(
                cls=told["cls"],
                options=told["options"],
                made_at=site_of(told.get("site")),
                site=site_of(fact.get("site")),
                calls=fact["calls"],
                position=fact["position"] if fact.get("position") is not None else float(fact["calls"]),
                first_step=fact["first_step"],
                last_step=fact["last_step"],
                steps=(fact["last_step"] - fact["first_step"]) // max(1, len(others)),
                epoch=_epoch(record, own),
                alone=sum(f.get("optimizer") == fact.get("optimizer") for f in followed) == 1,
                rate=Series.of((step["n"], step["lr"]) for step in own),
                base=bases.get(str(fact.get("optimizer"))),
            )
        )
    return found


def courses_of(record: Record) -> Sequence[Schedule]:
    """The course of each optimizer's rate that is changed by hand, in a program without schedulers."""
    if record.process.all("scheduler"):
        return []
    steps = [fact for fact in record.process.all("step") if fact.get("lr") is not None]
    found = []
    for optimizer in record.optimizers:
        own = [fact for fact in steps if fact.get("optimizer") == optimizer.id]
        rate = Series.of((fact["n"], fact["lr"]) for fact in own)
        if not own or rate.finite.lowest == rate.finite.highest or own[-1]["n"] < _SEEN * record.steps:
            continue
        first, last = own[0]["n"], own[-1]["n"]
        others = {fact.get("optimizer") for fact in steps if first < fact["n"] <= last}
        calls = (last - first) // max(1, len(others)) + 1
        found.append(
            Schedule(
                cls="",
                options={},
                made_at=optimizer.site,
                site=optimizer.site,
                calls=calls,
                position=float(calls),
                first_step=first,
                last_step=last,
                steps=last - first,
                epoch=None,
                alone=True,
                rate=rate,
            )
        )
    return found


def _epoch(record: Record, own: Sequence[Mapping[str, Any]]) -> float | None:
    """How many optimizer steps one pass of the training data has."""
    used = {phase.loader for phase in record.phases("train")}
    batches = {loader.batches for loader in record.loaders if loader.id in used}
    backwards = [step["backwards"] for step in own if step.get("backwards")]
    one = batches.pop() if len(batches) == 1 else None
    return one / median(backwards) if one and backwards else None
