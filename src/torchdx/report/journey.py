"""What was seen of a program's data, for a terminal: the journey of a sample step by step, and measures of many."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from torchdx.record import Pipeline, Record
from torchdx.report.columns import Column, told_first
from torchdx.report.lines import Line, broken, columns, cut, entry, plain, put, shortened, wrapped
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

PIPELINES, STEPS, COLUMNS = 12, 40, 12
"""So many pipelines, steps of a part of a sample, and columns of a table are shown."""

LEAD, NARROW = 5, 80
"""Columns of a step's number; and the width below which what a value is stands under what was done."""

KIND, SPAN = 34, 16
"""Columns that a value's type and shape take, and its range."""


def text(record: Record, width: int = 100) -> str:
    """The program's data as plain text; empty where none was audited."""
    return plain(lines(record, width))


def show(record: Record, stream: TextIO | None = None) -> None:
    """Print what was seen of the data: in colour on a terminal where NO_COLOR is not set, plain otherwise."""
    put(lambda width: lines(record, width), stream or sys.stderr)


def lines(record: Record, width: int = 100) -> Iterator[Line]:
    """What was seen of the data line by line."""
    width = max(40, width)
    for k, pipeline in enumerate(record.pipelines[:PIPELINES]):
        if k:
            yield []
        yield from _pipeline(pipeline, width)
    if len(record.pipelines) > PIPELINES:
        yield [(f"… and {counted(len(record.pipelines) - PIPELINES, 'pipeline')} more", "dim")]
    told = list(between(record))
    if told:
        yield []
        yield [("side by side", "strong")]
    for name, words in told:
        yield from entry(name, words, width, "")


def _pipeline(pipeline: Pipeline, width: int) -> Iterator[Line]:
    at = f"  {spot(pipeline.site)}" if pipeline.site else ""
    yield shortened([(role_of(pipeline), "strong"), (f" {one_line(pipeline.name)}", ""), (at, "dim")], width)
    yield from wrapped(" · ".join(about(pipeline)), width, indent="  ", style="dim")
    yield from _journey(pipeline, width)
    told = list(measures(pipeline))
    table = list(_columns(pipeline, width))
    if told or table:
        yield []
    for name, words in told:
        yield from entry(name, words, width, "error" if name == "broken" else "")
    yield from table


def _journey(pipeline: Pipeline, width: int) -> Iterator[Line]:
    journey = pipeline.journey
    if not journey.steps:
        why = one_line(journey.fact.get("why") or "")
        if why:
            yield from wrapped(f"No sample could be followed: {why}", width, indent="  ", style="dim")
        return
    sample = journey.fact.get("sample")
    whose = f" of sample {number(sample)}" if isinstance(sample, int) else ""
    for part, name in PARTS.items():
        rows = rows_of(journey, part)
        if rows:
            yield []
            yield [(f"  {name}{whose}", "strong")]
            yield from _rows(rows, width)


def _rows(rows: Sequence[Row], width: int) -> Iterator[Line]:
    """Every row; of very many, the first and the last."""
    left_out = len(rows) - STEPS
    last = STEPS // 4
    for k, row in enumerate(rows):
        if left_out > 0 and k == STEPS - last:
            yield [(f"{'':{LEAD}}… {counted(left_out, 'step')} left out", "dim")]
        if left_out <= 0 or k < STEPS - last or k >= len(rows) - last:
            yield from _row(row, width)


def _row(row: Row, width: int) -> Iterator[Line]:
    lead = f"{'·' if row.number is None else row.number:>{LEAD - 2}}  "
    narrow = width < NARROW
    room = width - LEAD if narrow else width - LEAD - KIND - SPAN - 2
    left, right = list(_deed(row, room)), list(_value(row, narrow))
    if narrow:
        left, right = [*left, *right], []
    for k in range(max(len(left), len(right))):
        line: Line = [("" if k else lead, "dim")] if not k else [(" " * LEAD, "")]
        done = left[k] if k < len(left) else []
        line += done
        if k < len(right):
            filled = sum(columns(words) for words, _ in done)
            line += [(" " * (room - filled + 2), ""), *right[k]]
        yield shortened(line if k else [(lead, "dim"), *line[1:]], width)


def _deed(row: Row, room: int) -> Iterator[Line]:
    """What was done, in words; then as it is written, and where."""
    source, where = written(row.step), spot(row.step.site if row.step else None, room // 2)
    words = did(row.step)
    if not words:
        words, source = cut(source, room), ""
    said = list(broken(words, room))[:2] or [""]
    yield from ([(words, "")] for words in said[:-1])
    last: Line = [(said[-1], "")]
    for mark in marks(row.step):
        if sum(columns(words) for words, _ in last) + len(mark.words) + 3 > room:
            yield last
            last = [(mark.words, mark.tone)]
        else:
            last = [*last, (" · " if said[-1] else "", "dim"), (mark.words, mark.tone)]
    yield last
    if source or where:
        source = cut(source, room - len(where) - 2 if where else room)
        yield [("  ".join(filter(None, (source, where))), "dim")]


def _value(row: Row, narrow: bool) -> Iterator[Line]:
    """What the value is, and its range; then its mean and deviation."""
    value = row.value
    kind = " · ".join(filter(None, (kind_of(value), shape_of(value))))
    span, spreads = span_of(value), " · ".join(spreads_of(value))
    text = one_line(value["text"]) if value.get("text") and not span else ""
    if narrow:
        yield from ([(part, "")] for part in (kind, span, spreads, text) if part)
        return
    yield [(f"{kind:<{KIND}} ", ""), (span, "")]
    if spreads or text:
        yield [(spreads or cut(text, KIND + SPAN), "dim")]


def _columns(pipeline: Pipeline, width: int) -> Iterator[Line]:
    fact = pipeline.one("columns")
    ranked = told_first(fact)
    if not ranked:
        return
    shown = ranked[:COLUMNS]
    name = min(max(len(column.name) for column in shown), max(10, width - 62))
    head = f"{'column':<{name}}  {'mean ± deviation':<20}  {'range':<18}"
    yield [(f"  {head}", "dim")]
    for column in shown:
        yield shortened(_column(column, name), width)
    if len(ranked) > COLUMNS:
        yield [(f"  … and {counted(len(ranked) - COLUMNS, 'column')} more", "dim")]


def _column(column: Column, width: int) -> Line:
    name = cut(column.name, width)
    return [
        (f"  {name:<{width}}  {column.spread:<20}  {column.span:<18}", ""),
        (f"  {column.remark}" if column.remark else "", "note"),
    ]
