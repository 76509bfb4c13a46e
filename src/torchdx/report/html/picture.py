"""The layers x time picture: gradients and flat or dead units, one row a layer, one column a look."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torchdx.record import Layer, Record, Series
from torchdx.report.html.svg import drawing, element, escape, words
from torchdx.report.words import number, percent

ROWS, COLUMNS = 48, 72
"""At most so many rows and columns; more layers or looks than that are thinned, and the caption says so."""

WIDTH, LEFT, PANEL, GAP, TOP = 900.0, 184.0, 346.0, 24.0, 62.0
HUES = 16
"""Shades of the gradient scale, coloured by the style sheet: a viridis, which the colour-blind can read as well."""

TENTHS = 10
FEWEST_DECADES, MOST_DECADES = 3, 12

Cell = float | None
Grid = list[list[Cell]]
Measured = Literal["output", "weight"]


@dataclass(frozen=True)
class Health:
    """What the picture shows: for each layer and each group of looks a gradient and a share of idle units."""

    layers: Sequence[Layer]
    steps: Sequence[int]
    gradient: Grid
    idle: Grid
    measured: Measured = "output"
    left_out: int = 0

    @classmethod
    def of(cls, record: Record, wanted: Collection[str] = ()) -> Health | None:
        """The health of a run's layers, the wanted among them; None where nothing was looked at."""
        used = [layer for layer in record.layers if layer.looks and not layer.cls.endswith("Loss")]
        kept = _spread(used, wanted, ROWS)
        looked = sorted({step for layer in kept for step, _ in layer.looks})
        if not looked:
            return None
        size = math.ceil(len(looked) / COLUMNS)
        groups = [looked[k : k + size] for k in range(0, len(looked), size)]
        column = {step: k for k, group in enumerate(groups) for step in group}
        measured: Measured = "output" if any(layer.series("gradient") for layer in kept) else "weight"
        gradient = [
            _cells(gradient_of(layer, measured), column, len(groups), lambda values: values[-1]) for layer in kept
        ]
        idle = [_cells(idle_of(layer), column, len(groups), max) for layer in kept]
        return cls(kept, [group[0] for group in groups], gradient, idle, measured, len(used) - len(kept))


def gradient_of(layer: Layer, measured: Measured) -> Series:
    """RMS of the gradient at the layer's output, or of its weight."""
    if measured == "output":
        return layer.series("gradient")
    weight = layer.parameter("weight")
    return weight.gradient if weight else Series()


def idle_of(layer: Layer) -> Series:
    """The share of its outputs that let no gradient through: on a flat end, or dead."""
    return layer.series("flat") or layer.series("dead")


def _spread(layers: Sequence[Layer], wanted: Collection[str], count: int) -> list[Layer]:
    """At most `count` layers: the wanted ones first of all, the others evenly from first to last."""
    if len(layers) <= count:
        return list(layers)
    named = [k for k, layer in enumerate(layers) if layer.name in wanted][:count]
    others = [k for k in range(len(layers)) if k not in named]
    room = max(2, count - len(named))
    picks = {others[round(k * (len(others) - 1) / (room - 1))] for k in range(room)} if others else set()
    return [layers[k] for k in sorted({*named, *picks})]


def _cells(series: Series, column: dict[int, int], count: int, pick: Callable[[list[float]], float]) -> list[Cell]:
    values: list[list[float]] = [[] for _ in range(count)]
    for step, value in series:
        if step in column:
            values[column[step]].append(value)
    return [
        None if not group else next((value for value in group if not math.isfinite(value)), pick(group))
        for group in values
    ]


def health(record: Record, marked: dict[str, str]) -> str:
    """The figure; `marked` maps the layers that have a finding to its severity. Empty where nothing was looked at."""
    seen = Health.of(record, marked)
    if seen is None:
        return ""
    row = 20.0 if len(seen.layers) <= 24 else 14.0
    bottom = TOP + row * len(seen.layers)
    low, high = _decades(seen.gradient)
    right = LEFT + PANEL + GAP
    shown = [
        _hatch(),
        *_names(seen.layers, row, marked),
        words(f"gradient of each {seen.measured}, RMS", LEFT, 18.0, class_="title"),
        words("flat or dead units, share", right, 18.0, class_="title"),
        _gradient_legend(low, high, LEFT),
        _idle_legend(right),
        _panel(seen.gradient, LEFT, row, lambda value: _shade(value, low, high)),
        _panel(seen.idle, right, row, lambda value: f"i{min(TENTHS - 1, int(value * TENTHS))}"),
        _time(seen.steps, LEFT, bottom),
        _time(seen.steps, right, bottom),
        element("rect", width=0, height=0, class_="cursor"),
    ]
    title = f"Gradient and activity of {len(seen.layers)} layers at {len(seen.steps)} moments of training."
    picture = drawing(WIDTH, bottom + 40, title, *shown, kind="chart", key="health")
    told = _data(seen, row)
    inside = f'<div class="scroll" tabindex="0" aria-label="picture of the layers\' health">{picture}</div>'
    return f'<figure class="health">{inside}{_caption(seen)}{_table(seen)}{told}</figure>'


def _decades(grid: Grid) -> tuple[int, int]:
    """The powers of ten between which the gradients lie."""
    sizes = [math.log10(value) for row in grid for value in row if value and math.isfinite(value) and value > 0]
    if not sizes:
        return -FEWEST_DECADES, 0
    high = math.ceil(max(sizes))
    return min(max(math.floor(min(sizes)), high - MOST_DECADES), high - FEWEST_DECADES), high


def _shade(value: float, low: int, high: int) -> str:
    if value <= 0:
        return "none"
    share = (math.log10(value) - low) / (high - low)
    return f"g{min(HUES - 1, max(0, int(share * HUES)))}"


def _panel(grid: Grid, left: float, row: float, shade: Callable[[float], str]) -> str:
    """Cells of one shade are one path, neighbours in a row one rectangle of it: a long run stays a small file."""
    width = PANEL / max(1, len(grid[0]))
    paths: dict[str, list[str]] = defaultdict(list)
    for k, cells in enumerate(grid):
        kinds = ["" if c is None else shade(c) if math.isfinite(c) else "broken" for c in cells]
        for start, end, kind in _runs(kinds):
            x, y, w = left + start * width, TOP + k * row, (end - start) * width
            paths[kind].append(f"M{x:.1f} {y:.0f}h{w:.1f}v{row - 1:.0f}h-{w:.1f}z")
    frame = element("rect", x=left, y=TOP, width=PANEL, height=row * len(grid) - 1, class_="frame")
    return frame + "".join(element("path", d="".join(path), class_=kind) for kind, path in sorted(paths.items()))


def _runs(kinds: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    start = 0
    for k in range(1, len(kinds) + 1):
        if k == len(kinds) or kinds[k] != kinds[start]:
            if kinds[start]:
                yield start, k, kinds[start]
            start = k


def _names(layers: Sequence[Layer], row: float, marked: dict[str, str]) -> Iterator[str]:
    for k, layer in enumerate(layers):
        at = TOP + (k + 0.5) * row
        name = f"{layer.name} {layer.cls}" if ":" not in layer.name else layer.name
        short = name if len(name) <= 25 else f"{name[:11]}…{name[-13:]}"
        if severity := marked.get(layer.name):
            yield element("circle", f"<title>{severity}</title>", cx=LEFT - 8, cy=at, r=3.6, class_=f"mark {severity}")
        hover = element("text", f"{escape(short)}<title>{escape(name)}</title>", x=LEFT - 18, y=at + 4,
                        class_="tick", text_anchor="end")  # fmt: skip
        yield hover


def _time(steps: Sequence[int], left: float, bottom: float) -> str:
    width = PANEL / len(steps)
    drawn = []
    for k in sorted({round(k * (len(steps) - 1) / 4) for k in range(5)}):
        anchor = "middle" if 0 < k < len(steps) - 1 else "end" if k else "start"
        at = left + (PANEL if anchor == "end" else 0.0 if anchor == "start" else (k + 0.5) * width)
        drawn.append(words(f"{steps[k]:,}", at, bottom + 15, class_="tick", text_anchor=anchor))
    return "".join(drawn) + words("optimizer step", left + PANEL, bottom + 32, class_="name", text_anchor="end")


def _gradient_legend(low: int, high: int, left: float) -> str:
    width = 12.0
    boxes = [
        element("rect", x=left + k * width, y=28.0, width=width + 0.5, height=9.0, class_=f"g{k}") for k in range(HUES)
    ]
    ends = words(f"1e{low}", left, 51.0, class_="tick") + words(
        f"1e{high}", left + HUES * width, 51.0, class_="tick", text_anchor="end"
    )
    other = left + HUES * width + 18
    return "".join(boxes) + ends + _key("none", "zero", other) + _key("broken", "NaN", other + 58)


def _idle_legend(left: float) -> str:
    width = 16.0
    boxes = [
        element("rect", x=left + k * width, y=28.0, width=width, height=9.0, class_=f"i{k}") for k in range(TENTHS)
    ]
    frame = element("rect", x=left, y=28.0, width=TENTHS * width, height=9.0, class_="frame")
    ends = words("0%", left, 51.0, class_="tick") + words(
        "100%", left + TENTHS * width, 51.0, class_="tick", text_anchor="end"
    )
    return frame + "".join(boxes) + ends


def _key(kind: str, name: str, left: float) -> str:
    box = element("rect", x=left, y=27.0, width=11.0, height=11.0, class_=kind)
    return box + words(name, left + 16, 37.0, class_="tick")


def _hatch() -> str:
    stripe = element("path", d="M0 0L5 5", class_="stripe")
    return element("defs", element("pattern", stripe, id="hatch", width=5.0, height=5.0, patternUnits="userSpaceOnUse"))


def _caption(seen: Health) -> str:
    thinned = f" {seen.left_out} layers in between are left out." if seen.left_out else ""
    return (
        "<figcaption><strong>Layers over time.</strong> One row a layer, in order of use; one column a look. "
        "Left: how large the gradient is; it should not fade from the bottom row to the top one. "
        f"Right: units that let no gradient through.{thinned} "
        '<output class="read-out" aria-live="polite">Point at a cell, or move with the arrow keys, to read it.</output>'
        "</figcaption>"
    )


def _table(seen: Health) -> str:
    rows = []
    for layer, gradient, idle in zip(seen.layers, seen.gradient, seen.idle, strict=True):
        cells = [_cell(gradient, 0, number), _cell(gradient, -1, number), _cell(idle, 0, percent)]
        told = "".join(f"<td>{cell}</td>" for cell in [*cells, _cell(idle, -1, percent)])
        rows.append(f'<tr><th scope="row">{escape(layer.name)}</th><td>{escape(layer.cls)}</td>{told}</tr>')
    heads = ("layer", "class", "gradient at first", "gradient at last", "idle at first", "idle at last")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    return f"<details><summary>The same as a table</summary>{body}</details>"


def _cell(cells: Sequence[Cell], at: int, say: Callable[[float], str]) -> str:
    known = [cell for cell in cells if cell is not None]
    return say(known[at]) if known else "–"


def _data(seen: Health, row: float) -> str:
    """What the read-out reads; `<` is escaped so that no name can end the script element."""
    told = {
        "layers": [layer.name for layer in seen.layers],
        "steps": list(seen.steps),
        "gradient": [[_told(cell) for cell in cells] for cells in seen.gradient],
        "idle": [[_told(cell) for cell in cells] for cells in seen.idle],
        "place": {"left": LEFT, "panel": PANEL, "gap": GAP, "top": TOP, "row": row},
    }
    safe = json.dumps(told, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace(">", "\\u003e")
    return f'<script type="application/json" id="health-data">{safe.replace("&", chr(92) + "u0026")}</script>'


def _told(cell: Cell) -> float | str | None:
    if cell is None or math.isfinite(cell):
        return None if cell is None else float(f"{cell:.2e}")
    return "NaN" if math.isnan(cell) else "infinity"
