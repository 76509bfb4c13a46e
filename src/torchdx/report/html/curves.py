"""Curves: the losses on their scale of entropy, and a sparkline for a measure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torchdx.record import Phase, Record, Series
from torchdx.report.html.svg import Scale, axes, band, drawing, element, escape, line, words
from torchdx.report.words import number

TOP = 34.0
POINTS = 240
"""At most so many points are drawn of a curve, each with the range of the values it stands for."""


class Frame(NamedTuple):
    """The measures of a drawing of losses: one for a desk, one for a telephone."""

    kind: str
    width: float
    height: float
    left: float
    right: float

    @property
    def bottom(self) -> float:
        """Where the step axis lies."""
        return self.height - 48


FRAMES = (Frame("chart wide", 900.0, 360.0, 62.0, 690.0), Frame("chart slim", 400.0, 300.0, 50.0, 280.0))


class Bucket(NamedTuple):
    """Neighbouring values of a series: the step in their middle, their least, mean and greatest."""

    step: float
    low: float
    mean: float
    high: float


class Mark(NamedTuple):
    """A loss that means something: its value, and its name in full and in brief."""

    value: float
    name: str
    short: str


def buckets(series: Series, count: int = POINTS) -> list[Bucket]:
    """The series in at most `count` stretches, so that thinning hides neither a spike nor a NaN."""
    size = max(1, math.ceil(len(series) / count))
    return [
        _bucket(series.steps[k : k + size], series.values[k : k + size]) for k in range(0, len(series.values), size)
    ]


def _bucket(steps: Sequence[int], values: Sequence[float]) -> Bucket:
    middle = steps[len(steps) // 2]
    if not all(map(math.isfinite, values)):
        return Bucket(middle, math.nan, math.nan, math.nan)
    return Bucket(middle, min(values), sum(values) / len(values), max(values))


def losses(record: Record) -> str:
    """The figure of training and validation loss, with the lines that say what a loss means; empty without any."""
    curves = Curves.of(record)
    if not curves.steps:
        return ""
    if not curves.values:
        return "<figure><figcaption><strong>Losses.</strong> Not one finite loss was seen.</figcaption></figure>"
    pictures = "".join(curves.drawn(frame) for frame in FRAMES)
    return element("figure", pictures, _caption(record, curves.log), class_="losses")


@dataclass(frozen=True)
class Curves:
    """What the figure of losses shows, whatever its size."""

    record: Record
    objective: Sequence[Bucket]
    values: Sequence[float]
    steps: Sequence[int]
    marks: Sequence[Mark]

    @classmethod
    def of(cls, record: Record) -> Curves:
        """Gather it from a record."""
        objective, phases = buckets(record.objective), (record.training_loss(), record.validation_loss())
        seen = [value for bucket in objective for value in (bucket.low, bucket.high)]
        finite = [value for value in (*seen, *phases[0].values, *phases[1].values) if math.isfinite(value)]
        steps = [*record.objective.steps, *phases[0].steps, *phases[1].steps]
        return cls(record, objective, finite, steps, _entropy_lines(record))

    @property
    def log(self) -> bool:
        """Do the losses span so much that only a logarithmic scale shows them?"""
        return bool(self.values) and min(self.values) > 0 and max(self.values) > 30 * min(self.values)

    def drawn(self, frame: Frame) -> str:
        """The picture at this size."""
        x = Scale(min(*self.steps, 1), max(*self.steps, 2), frame.left, frame.right)
        levels = [*_without_far_ends(self.values), *(mark.value for mark in self.marks)]
        y = Scale.around(levels, frame.bottom, TOP, log=self.log)
        slim = frame.width < 600
        shown = [
            axes(x, y, "optimizer step", "loss in nats" if self.marks else "loss"),
            *(
                element("line", x1=x.start, x2=x.end, y1=y(m.value), y2=y(m.value), class_="entropy")
                for m in self.marks
            ),
            _objective(self.objective, x, y),
            _phases(self.record.phases("train"), "training", x, y),
            _phases(self.record.phases("eval"), "validation", x, y),
            _not_finite(self.record.objective, x, y),
            _labels(self._ends(slim), x, y),
        ]
        return drawing(frame.width, frame.height, _summary(self.record), *shown, kind=frame.kind)

    def _ends(self, slim: bool) -> list[tuple[float, str, str]]:
        """What is written at the right end of the lines: the value, the kind of line, and its name."""
        training, validation = self.record.training_loss().finite.last, self.record.validation_loss().finite.last
        objective = self.record.objective.finite.last if math.isnan(training) else math.nan
        lines_ = {"training": training, "validation": validation, "objective": objective}
        told = [(mark.value, "entropy", mark.short if slim else mark.name) for mark in self.marks]
        return told + [(value, name, name) for name, value in lines_.items() if math.isfinite(value)]


def _without_far_ends(values: Sequence[float]) -> list[float]:
    """The values without a few spikes that would flatten all the rest; what is beyond is drawn at the edge."""
    ranked = sorted(values)
    most = ranked[int(0.98 * (len(ranked) - 1))] if ranked else 0.0
    return [value for value in ranked if value <= max(4 * most, most + 1e-9)] or ranked


def _entropy_lines(record: Record) -> list[Mark]:
    uniform, frequencies = record.uniform_loss, record.label_entropy
    if uniform is None:
        return []
    marks = [Mark(uniform, f"uniform guess, log {record.classes} =", "uniform")]
    if frequencies is not None and abs(uniform - frequencies) >= 0.02 * uniform:
        marks.append(Mark(frequencies, "class frequencies, H(Y) =", "H(Y)"))
    return marks


def _objective(objective: Sequence[Bucket], x: Scale, y: Scale) -> str:
    if not objective:
        return ""
    lows, highs = [(b.step, b.low) for b in objective], [(b.step, b.high) for b in objective]
    around = "".join(
        element("path", d=band(lows[a:z], highs[a:z], x, y), class_="range") for a, z in _stretches(objective)
    )
    return around + element("path", d=line([(b.step, b.mean) for b in objective], x, y), class_="objective")


def _stretches(objective: Sequence[Bucket]) -> Iterable[tuple[int, int]]:
    """Where, from and up to, the buckets are finite without a break and stand for more than one value each."""
    start = None
    for k, bucket in enumerate([*objective, Bucket(0, math.nan, math.nan, math.nan)]):
        finite = math.isfinite(bucket.mean)
        if finite and start is None:
            start = k
        elif not finite and start is not None:
            if any(b.high > b.low for b in objective[start:k]):
                yield start, k
            start = None


def _phases(phases: Sequence[Phase], kind: str, x: Scale, y: Scale) -> str:
    """The mean loss of each phase, with whiskers of one standard error; only dots' whiskers if there are few."""
    told = [(phase.last_step, phase.loss, phase.loss_error) for phase in phases if phase.loss is not None]
    told = [told[round(k * (len(told) - 1) / (POINTS - 1))] for k in range(POINTS)] if len(told) > POINTS else told
    drawn = [element("path", d=line([(step, value) for step, value, _ in told], x, y), class_=kind)]
    for step, value, error in told if len(told) <= 60 else ():
        if not math.isfinite(value):
            continue
        if error and math.isfinite(error):
            ends = {"y1": y(value - error), "y2": y(value + error)}
            drawn.append(element("line", x1=x(step), x2=x(step), **ends, class_=f"{kind} whisker"))
        dot = f"{kind} at step {step}: {number(value)}" + (f" ± {number(error)}" if error else "")
        drawn.append(_dot(kind, x(step), y(value), dot))
    return "".join(drawn)


def _dot(kind: str, x: float, y: float, title: str) -> str:
    hover = f"<title>{escape(title)}</title>"
    if kind == "training":
        return element("circle", hover, cx=x, cy=y, r=3.6, class_="training dot")
    return element("rect", hover, x=x - 3.5, y=y - 3.5, width=7.0, height=7.0, class_="validation dot")


def _not_finite(series: Series, x: Scale, y: Scale) -> str:
    bad = next((step for step, value in series if not math.isfinite(value)), None)
    if bad is None:
        return ""
    right = x(bad) > (x.start + x.end) / 2
    anchor = "end" if right else "start"
    told = f"not finite from step {bad:,}"
    note = words(told, x(bad) + (-6 if right else 6), y.end + 12, class_="broken", text_anchor=anchor)
    return element("line", x1=x(bad), x2=x(bad), y1=y.end, y2=y.start, class_="broken") + note


def _labels(ends: Sequence[tuple[float, str, str]], x: Scale, y: Scale) -> str:
    """Names at the right end of their lines, pushed apart so that none covers another."""
    drawn, floor = [], -math.inf
    for value, kind, name in sorted(ends, reverse=True):
        floor = max(y(value) + 4, floor + 17)
        told = words(f"{name} {number(value)}", x.end + 12, floor, class_=f"label {kind}")
        drawn.append(element("line", x1=x.end, x2=x.end + 9, y1=y(value), y2=floor - 4, class_="lead") + told)
    return "".join(drawn)


def _summary(record: Record) -> str:
    parts = []
    for name, series in (("training loss", record.training_loss()), ("validation loss", record.validation_loss())):
        if series:
            parts.append(f"{name} from {number(series.first)} to {number(series.last)}")
    if not parts and record.objective:
        parts.append(f"objective from {number(record.objective.first)} to {number(record.objective.last)}")
    return f"Losses over optimizer steps: {', '.join(parts)}."


def _caption(record: Record, log: bool) -> str:
    told = ["<strong>Losses.</strong> Thin line: the value that <code>backward</code> was called on, with its range."]
    if record.training_loss():
        told.append("Dots: mean of a training phase.")
    if record.validation_loss():
        told.append("Squares: mean of an evaluation; whiskers: one standard error.")
    if record.uniform_loss is not None:
        told.append("Dashed: what a guess costs that knows nothing, or only how frequent each class is.")
    if log:
        told.append("Logarithmic scale.")
    return f"<figcaption>{' '.join(told)}</figcaption>"


def sparkline(name: str, series: Series, unit: str = "look") -> str:
    """A small curve of one measure, with its ends and its range said; logarithmic where it spans two decades."""
    finite = series.finite
    if not finite:
        told = number(series.last) if series else "nothing"
        return f'<div class="spark"><span class="k">{escape(name)}</span><b>{told}, all along</b></div>'
    log = finite.lowest > 0 and finite.highest > 50 * finite.lowest
    drawn = buckets(series, 120)
    x = Scale(min(series.steps), max(series.steps), 4.0, 216.0)
    y = Scale.around([v for b in drawn for v in (b.low, b.high)], 46.0, 6.0, log=log)
    bad = [b.step for b in drawn if not math.isfinite(b.mean)]
    title = f"{name}: from {number(series.first)} to {number(series.last)}, {len(series)} {unit}s"
    picture = drawing(
        220.0, 52.0, title,
        element("line", x1=4.0, x2=216.0, y1=46.0, y2=46.0, class_="axis"),
        element("path", d=line([(b.step, b.mean) for b in drawn], x, y), class_="curve"),
        *(element("line", x1=x(step), x2=x(step), y1=6.0, y2=46.0, class_="broken") for step in bad[:1]),
        element("circle", cx=x(finite.steps[-1]), cy=y(finite.last), r=3.0, class_="end"),
        kind="tiny",
    )  # fmt: skip
    ends = f"<b>{number(series.first)} → {number(series.last)}</b>" + (" <small>log scale</small>" if log else "")
    return f'<div class="spark"><span class="k">{escape(name)}</span>{picture}<span>{ends}</span></div>'
