"""What the network really sees: the steps of each pipeline as cards, what was measured, and samples to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torchdx.record import Pipeline, Record
from torchdx.report.columns import Column, told_first
from torchdx.report.html.sheet import is_png, sheet
from torchdx.report.html.svg import drawing, element, escape
from torchdx.report.measures import about, between, measures, role_of
from torchdx.report.values import (
    PARTS,
    Row,
    did,
    kind_of,
    marks,
    one_line,
    rows_of,
    shape_of,
    span_of,
    spot,
    spreads_of,
    written,
)
from torchdx.report.words import counted, number

PIPELINES, STEPS, COLUMNS = 12, 40, 24
"""So many pipelines, steps of a part of a sample, and columns of a table are shown."""

WIDE, HIGH = 160, 36
"""Pixels of a histogram."""

LETTERS = 160
"""Of a step's source."""


def pipelines(record: Record | None) -> str:
    """Every pipeline that was audited; empty where none was."""
    if record is None or not record.pipelines:
        return ""
    shown = record.pipelines[:PIPELINES]
    parts = [_pipeline(pipeline, f"pipeline-{k}") for k, pipeline in enumerate(shown, 1)]
    if more := len(record.pipelines) - len(shown):
        parts.append(f"<p>… and {counted(more, 'pipeline')} more.</p>")
    told = "".join(_said(name, words) for name, words in between(record))
    if told:
        parts.append(f'<figure class="pipeline"><h3>Side by side</h3><dl class="told">{told}</dl></figure>')
    return "".join(parts) + _sheets(shown)


def _sheets(shown: Sequence[Pipeline]) -> str:
    """The contact sheets, those of training and validation beside each other."""
    drawn = [sheet(pipeline) for pipeline in shown]
    found = [one for one in drawn if one]
    return f'<div class="sheets">{"".join(found)}</div>' if found else ""


def _pipeline(pipeline: Pipeline, key: str) -> str:
    at = f' <code class="at">{escape(spot(pipeline.site))}</code>' if pipeline.site else ""
    name = f"{escape(role_of(pipeline))} <code>{escape(one_line(pipeline.name))}</code>"
    parts = [f'<h3 id="{key}">{name}{at}</h3>', f"<p>{escape(' · '.join(about(pipeline)))}</p>"]
    parts += _strips(pipeline)
    told = "".join(_said(name, words) for name, words in measures(pipeline))
    parts.append(f'<dl class="told">{told}</dl>' if told else "")
    parts.append(_columns(pipeline))
    return f'<figure class="pipeline" aria-labelledby="{key}">{"".join(parts)}</figure>'


def _said(name: str, words: str) -> str:
    kind = ' class="error"' if name == "broken" else ""
    return f"<div{kind}><dt>{escape(name)}</dt><dd>{escape(words)}</dd></div>"


def _strips(pipeline: Pipeline) -> Iterator[str]:
    journey = pipeline.journey
    if not journey.steps:
        why = one_line(journey.fact.get("why") or "")
        if why:
            yield f"<p>No sample could be followed: {escape(why)}</p>"
        return
    sample = journey.fact.get("sample")
    whose = f" of sample {number(sample)}" if isinstance(sample, int) else ""
    for part, name in PARTS.items():
        rows = rows_of(journey, part)
        if rows:
            title = f"{name}{whose}"
            cards = "".join(_card(row) for row in rows[:STEPS])
            if len(rows) > STEPS:
                cards += f'<li class="step">… and {counted(len(rows) - STEPS, "step")} more</li>'
            strip = f'<ol class="strip" tabindex="0" aria-label="{escape(title)}, step by step">{cards}</ol>'
            yield f"<h4>{escape(title[:1].upper() + title[1:])}</h4>{strip}"


def _card(row: Row) -> str:
    value, step = row.value, row.step
    said, source = did(step), written(step)[:LETTERS]
    words = said or source
    count = f"<b>{row.number}</b> " if row.number is not None else ""
    pills = "".join(f'<span class="pill {mark.tone}">{escape(mark.words)}</span> ' for mark in marks(step))
    lines = [
        _picture(value, f"the picture after step {row.number}: {words}" if step else "the picture it begins with"),
        f'<p class="did">{count}{escape(words)}</p>',
        f"<p>{pills}</p>" if pills else "",
        _line(" · ".join(filter(None, (kind_of(value), shape_of(value)))), "kind"),
        _line(span_of(value), "span"),
        *(_line(each, "spread") for each in spreads_of(value)[:4]),
        _histogram(value),
        _line(one_line(value["text"]), "value") if value.get("text") and not span_of(value) else "",
        f"<p><code>{escape(source)}</code></p>" if said and source else "",
        _line(spot(step.site, 40) if step else "", "at"),
    ]
    return f'<li class="step">{"".join(lines)}</li>'


def _line(words: str, kind: str) -> str:
    return f'<p class="{kind}">{escape(words)}</p>' if words else ""


def _picture(value: Mapping[str, Any], alt: str) -> str:
    told = value.get("picture")
    if not is_png(told):
        return ""
    shown = one_line(value.get("shown") or "")
    title = f' title="shown {escape(shown)}"' if shown else ""
    return f'<img src="data:image/png;base64,{told}" alt="{escape(alt)}"{title}>'


def _histogram(value: Mapping[str, Any]) -> str:
    counts = [count for count in value.get("histogram") or () if isinstance(count, int | float) and count >= 0]
    if not counts or not math.isfinite(max(counts)) or max(counts) <= 0:
        return ""
    wide = WIDE / len(counts)
    bars = [
        element("rect", x=k * wide, y=HIGH - high, width=max(0.5, wide - 0.6), height=high, class_="bin")
        for k, count in enumerate(counts)
        if (high := max(1.0, HIGH * count / max(counts)) if count else 0.0)
    ]
    return drawing(WIDE, HIGH, f"how often its numbers occur, from {span_of(value)}", *bars, kind="bins")


def _columns(pipeline: Pipeline) -> str:
    """The columns of a table: their sizes as bars on one logarithmic scale."""
    ranked = told_first(pipeline.one("columns"))
    if not ranked:
        return ""
    sizes = [math.log10(one.size) for one in ranked if one.size > 0 and math.isfinite(one.size)]
    low, high = min([0.0, *sizes]) - 0.5, max([0.0, *sizes]) + 0.5
    rows = "".join(_column(column, low, high) for column in ranked[:COLUMNS])
    more = f"<p>… and {counted(len(ranked) - COLUMNS, 'column')} more.</p>" if len(ranked) > COLUMNS else ""
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("column", "size", "mean ± deviation", "range", ""))
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="columns">{table}</div>{more}'


def _column(column: Column, low: float, high: float) -> str:
    known = column.size > 0 and math.isfinite(column.size)
    share = (math.log10(column.size) - low) / (high - low) if known else 0.0
    bar = f'<span class="bar size" aria-hidden="true"><i style="width:{share:.0%}"></i></span>'
    cells = "".join(f"<td>{escape(words)}</td>" for words in (column.spread, column.span, column.remark))
    return f'<tr><th scope="row">{escape(column.name)}</th><td>{bar}</td>{cells}</tr>'
