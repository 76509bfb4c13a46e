"""Small drawing: elements, scales with nice ticks, axes and broken lines, as SVG text."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torchdx.report.words import number

Point = tuple[float, float]


def element(tag: str, *children: str, **attributes: str | float | None) -> str:
    """One element; `class_` and `stroke_width` become class and stroke-width. Children are markup, not text."""
    told = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_short(value) if isinstance(value, float) else escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{told}>{''.join(children)}</{tag}>" if children else f"<{tag}{told}/>"


def escape(words: str) -> str:
    """Text made safe for markup; what XML cannot hold becomes a replacement mark."""
    safe = "".join(c if c.isprintable() or c in "\n\t\u00a0" else "\ufffd" for c in words)
    return html.escape(safe, quote=True)


def prose(words: str) -> str:
    """Text made safe for HTML, with `code` between backticks set as code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(words))


def words(text: str, x: float, y: float, **attributes: str | float | None) -> str:
    """A text element."""
    return element("text", escape(text), x=x, y=y, **attributes)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Scale:
    """From values to places on a drawing, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; one outside the ends is put at the nearer end."""
        low, high, value = (self._bent(item) for item in (self.low, self.high, value))
        share = (min(max(value, low), high) - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def _bent(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values to mark, about `wanted` of them."""
        return log_ticks(self.low, self.high, wanted) if self.log else linear_ticks(self.low, self.high, wanted)

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float, *, log: bool = False) -> Scale:
        """A scale on which all the finite values lie, with a little room; logarithmic only if they are positive."""
        finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
        low, high = min(finite, default=0.0), max(finite, default=1.0)
        if log and finite:
            return cls(low / 1.25, high * 1.25, start, end, True)
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        return cls(low - room if low < 0 or low - room > 0 else 0.0, high + room, start, end)


def linear_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten that lie between the ends."""
    if not high > low or not math.isfinite(high - low):
        return [low]
    raw = (high - low) / max(1, wanted)
    power: float = 10.0 ** math.floor(math.log10(raw))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Powers of ten between the ends, thinned; 1, 2 and 5 of each where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, math.ceil((last - first) / max(1, wanted)))
    leads = (1, 2, 5) if last - first <= 2 else (1,)
    marks = [lead * 10.0**power for power in range(first, last + 1, stride) for lead in leads]
    return [mark for mark in marks if low <= mark <= high] or [low]


def line(points: Sequence[tuple[float, float]], x: Callable[[float], float], y: Callable[[float], float]) -> str:
    """Path data through the points, broken where a value is not finite."""
    pen, path = "M", []
    for step, value in points:
        if not math.isfinite(value):
            pen = "M"
            continue
        path.append(f"{pen}{_short(x(step))} {_short(y(value))}")
        pen = "L"
    return "".join(path)


def band(lows: Sequence[Point], highs: Sequence[Point], x: Scale, y: Scale) -> str:
    """Path data of the area between two lines."""
    around = [*lows, *reversed(highs)]
    return line(around, x, y) + "Z" if len(lows) > 1 else ""


def axes(x: Scale, y: Scale, x_name: str, y_name: str) -> str:
    """Grid lines with their values, and the names of both axes."""
    drawn = []
    for value in y.ticks():
        at = y(value)
        drawn.append(element("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="grid"))
        drawn.append(words(number(value), x.start - 7, at + 4, class_="tick", text_anchor="end"))
    for value in x.ticks(6):
        if value == int(value):
            drawn.append(words(number(int(value)), x(value), y.start + 18, class_="tick", text_anchor="middle"))
    drawn.append(element("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis"))
    drawn.append(words(x_name, x.end, y.start + 34, class_="name", text_anchor="end"))
    drawn.append(words(y_name, x.start - 44, y.end - 10, class_="name"))
    return "".join(drawn)


def drawing(width: float, height: float, title: str, *children: str, kind: str = "", key: str = "") -> str:
    """A whole picture that scales with the page and tells its title to who cannot see it."""
    told = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria_label": title, "class_": kind or None}
    return element("svg", f"<title>{escape(title)}</title>", *children, **told, data_chart=key or None)
