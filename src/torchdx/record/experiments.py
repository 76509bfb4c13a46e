"""What the deep look found: one fact an experiment, made on copies of the model when training was over."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from torchdx.finding import Site
from torchdx.record.anatomy import Layer, site_of
from torchdx.record.facts import Fact

if TYPE_CHECKING:
    from torchdx.record.process import Process


@dataclass(frozen=True)
class Point:
    """The loss around one state of the weights: its gradient, how noisy that is, and the ends of its curvature."""

    loss: float
    gradient: float
    noise: float | None
    greatest: float
    greatest_error: float
    least: float
    least_error: float

    @property
    def above_noise(self) -> float:
        """The gradient's length, in standard errors of its mean over batches; infinite where there was one batch."""
        return self.gradient / self.noise if self.noise else math.inf

    @property
    def bent_down(self) -> float:
        """The most negative curvature, as a share of the greatest; what is surely there, with its error taken off."""
        return max(0.0, -self.least - self.least_error) / self.greatest if self.greatest > 0 else math.inf


@dataclass(frozen=True)
class Noise:
    """What batches of some samples differ by: |G|^2 of all data, and tr(S), the variance that one sample adds to it."""

    samples: int
    loss: float
    square: float
    square_error: float
    trace: float
    trace_error: float

    @property
    def scale(self) -> float:
        """The gradient noise scale tr(S) / |G|^2: samples whose mean gradient is as much signal as noise."""
        return self.trace / self.square if self.square > 0 else math.inf


@dataclass(frozen=True)
class Experiments:
    """The experiments of a process by kind, and why one was not made."""

    process: Process

    @property
    def asked(self) -> bool:
        """Was the deep look asked for, as with `torchdx run --deep`?"""
        return bool(self.process.all("deep"))

    @property
    def replay(self) -> Fact:
        """What was computed again: the model, its loss, the steps kept; empty where that did not succeed."""
        return self.result("replay")

    def result(self, kind: str) -> Fact:
        """What this experiment found; empty where it was not made."""
        fact = self.process.last(kind)
        return {} if fact.get("why") else fact

    def why_not(self, kind: str) -> str:
        """Why this experiment was not made."""
        why = self.process.last("replay").get("why") or self.process.last(kind).get("why")
        return f"an experiment on a copy, which was not made: {why or 'the process ended before'}"

    def point(self, state: str) -> Point | None:
        """The loss around the weights in this state: "initial" or "final"; None where it was not measured."""
        told = self.result("critical").get(state)
        point = Point(**{each.name: told[each.name] for each in fields(Point)}) if told else None
        return point if point and all(map(math.isfinite, (point.loss, point.gradient, point.greatest))) else None

    def noise(self, state: str) -> Noise | None:
        """What batches differ by with the weights in this state, "initial" or "final"; None where it is unknown."""
        whole = self.result("noise")
        told = whole.get(state)
        known = told and all(value is not None and math.isfinite(value) for value in told.values())
        return Noise(samples=whole["samples"], **told) if told and known else None

    @property
    def left_by_heart(self) -> float | None:
        """The loss of one batch, learnt by heart from the weights at first, over that of the best constant answer."""
        told = self.result("one_batch")
        return told["initial"]["best"] / told["constant"] if told.get("constant") and told.get("initial") else None

    def layer(self, kind: str) -> Layer | None:
        """The layer that this experiment named."""
        return self.process.layers.get(str(self.result(kind).get("layer")))

    def site(self, kind: str) -> Site | None:
        """Where that layer was made or, where it named none, where the loss is computed."""
        layer = self.layer(kind)
        return layer.site if layer is not None and layer.site else site_of(self.replay.get("site"))
