"""Words and numbers that all reports share: how a path, a measure, a place and a run are said."""

from __future__ import annotations

import math
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torchdx.finding import Diagnosis, Finding, NotEnough, Severity, Site, Verdict
from torchdx.notebook import NotANotebook, line_in_file, python_cells

SHARES = ("share", "fraction", "accuracy", "overhead", "confidence", "percent")
"""A number between 0 and 1 whose name ends in one of these words is said in percent."""

KINDS = {
    "batch": "batches of a DataLoader",
    "gradients": "gradients at optimizer steps",
    "input": "what the model is given",
    "loader": "a DataLoader",
    "loss": "a loss function of torch",
    "module": "a model's layers",
    "optimizer": "an optimizer of torch",
    "outputs": "outputs of layers",
    "param": "a model's parameters",
    "phase": "evaluations",
    "step": "optimizer steps",
}
"""Kinds of facts, as they are called where there is none."""

BARS = "▁▂▃▄▅▆▇█"
TAB = "    "
LINE_END = re.compile(r"\r\n|\r|\n")


class Excerpt(NamedTuple):
    """A line of source as it is to be shown; the span is from character `start` up to, not including, `end`."""

    number: int
    text: str
    start: int = 0
    end: int = 0


def severity_of(finding: Finding) -> Severity:
    """Its severity; one that nobody stamped counts as a warning."""
    return finding.severity or "warning"


def place(site: Site) -> str:
    """path:line:column, as editors and terminals make a link of; notebook#cell 3:line:column."""
    return str(site)


def number(value: float) -> str:
    """Three significant digits, no needless zeros: 0.00392, 1.2e-7, 12,345, NaN, infinity."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinity" if value > 0 else "-infinity"
    if value and not 1e-3 <= abs(value) < 1e6:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    rounded = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "0" if rounded == "-0" else rounded


def percent(share: float) -> str:
    """A share as a percentage: 0.0123 is 1.2%."""
    if not math.isfinite(share):
        return number(share)
    shown = f"{share * 100:.0f}" if share >= 0.1 or share == 0 else f"{share * 100:.2g}"
    return f"{shown}%"


def needed(lack: NotEnough) -> str:
    """What it would take to judge; kinds of facts are put in words."""
    kinds = lack.needs.split(", ")
    if not all(kind in KINDS for kind in kinds):
        return lack.needs
    return " and ".join(KINDS[kind] for kind in kinds if kind != "step" or "gradients" not in kinds)


def is_share(name: str, value: object) -> bool:
    """Is this measure a part of a whole, by its name and its value?"""
    return isinstance(value, float) and 0.0 <= value <= 1.0 and name.lower().replace("_", " ").endswith(SHARES)


def is_curve(value: object) -> bool:
    """Is this measure a list of numbers, to be plotted?"""
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 1 and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def said(name: str, value: Any) -> str:
    """One measure's value for a person."""
    if is_share(name, value):
        return percent(value)
    if isinstance(value, bool | int | float):
        return number(value)
    if is_curve(value):
        return curve(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {said(str(key), item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(dict.fromkeys(said(name, item) for item in value)) or "none"
    return "none" if value is None else " ".join(str(value).split())


def label(name: str) -> str:
    """A measure's name for a person."""
    return name.replace("_", " ").strip()


def curve(values: Sequence[float | None], width: int = 16) -> str:
    """A list of numbers as its first, its shape and its last: 2.3 ▇▅▃▂▁▁ 0.12."""
    known = [value for value in values if value is not None]
    finite = [value for value in known if math.isfinite(value)]
    if not finite:
        return number(known[-1]) if known else "none"
    low, high = min(finite), max(finite)
    picks = [known[round(k * (len(known) - 1) / (width - 1))] for k in range(width)] if len(known) > width else known
    bars = "".join(
        BARS[round((value - low) / (high - low) * 7) if high > low else 3] if math.isfinite(value) else "!"
        for value in picks
    )
    return f"{number(known[0])} {bars} {number(known[-1])}"


def counted(count: int, noun: str) -> str:
    """1 finding, 2 findings, 2 processes."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def tally(diagnosis: Diagnosis) -> str:
    """How many findings of each severity: 5 findings: 2 errors, 3 warnings; empty if there is none."""
    found = [severity_of(finding) for finding in diagnosis.all_findings()]
    if not found:
        return ""
    parts = [counted(found.count(kind), kind) for kind in ("error", "warning", "note") if kind in found]
    return f"{counted(len(found), 'finding')}: {', '.join(parts)}"


def run_facts(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is known of the run, as pairs of a label and a value."""
    if run.get("command"):
        command = run["command"]
        yield "command", command if isinstance(command, str) else " ".join(map(str, command))
    if run.get("steps") is not None:
        yield "steps", number(run["steps"])
    if run.get("looked") is not None:
        yield "looked at", number(run["looked"])
    if run.get("overhead") is not None:
        yield "overhead", percent(float(run["overhead"]))
    if run.get("processes") is not None:
        yield "processes", number(run["processes"])
    if run.get("ranks") is not None:
        yield "ranks", number(run["ranks"])
    if run.get("seconds") is not None:
        yield "took", duration(float(run["seconds"]))
    if run.get("status") is not None:
        yield "ended", ending(run["status"])


def ending(status: Any) -> str:
    """How a process ended: in the words given, or its exit status, or the signal that a negative one stands for."""
    if not isinstance(status, int):
        return str(status)
    if status >= 0:
        return f"exit status {status}"
    import signal

    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def duration(seconds: float) -> str:
    """0.4 s, 12.3 s, 4 min 10 s, 2 h 5 min."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@lru_cache(maxsize=64)
def _lines(path: str) -> tuple[str, ...]:
    try:
        with tokenize.open(path) as file:
            return tuple(file.read().split("\n"))
    except (OSError, SyntaxError, ValueError):  # gone, not ours to read, or not text: the report goes on without it
        return ()


def line_on_disk(site: Site) -> int:
    """The line of the file as it is on disk that holds the site's: of the JSON, where that is a notebook."""
    return _line_of_json(site.path, site.cell.number, site.row) if site.cell else site.line


@lru_cache(maxsize=1024)
def _line_of_json(path: str, cell: int, row: int) -> int:
    try:
        return line_in_file(Path(path).read_bytes(), cell, row)
    except (OSError, ValueError, IndexError):
        return 1


@lru_cache(maxsize=64)
def _cells(path: str) -> Mapping[int, tuple[str, ...]]:
    try:
        cells = python_cells(Path(path).read_bytes())
    except (OSError, NotANotebook):
        return {}
    return {cell.number: tuple(LINE_END.split(cell.code)) for cell in cells}


def forget_files() -> None:
    """Look at the files anew: they may have been changed."""
    for remembered in (_lines, _cells, _line_of_json):
        remembered.cache_clear()


def excerpt(site: Site, context: int = 0) -> list[Excerpt]:
    """The site's line, with `context` lines about it, tabs widened; empty where it can no longer be found."""
    lines = _cells(site.path).get(site.cell.number, ()) if site.cell else _lines(site.path)
    if not 1 <= site.row <= len(lines) or not lines[site.row - 1].strip():
        return []
    last = min(site.end_row or site.row, site.row + context)
    shown = range(max(1, site.row - context), min(len(lines), last + context) + 1)
    return [_excerpt(k, lines[k - 1].rstrip(), site) for k in shown]


def _excerpt(line: int, raw: str, site: Site) -> Excerpt:
    end_row = site.end_row or site.row
    if not site.row <= line <= end_row:
        return Excerpt(line, raw.replace("\t", TAB))
    indent = len(raw) - len(raw.lstrip())
    start = min(site.column - 1, len(raw)) if line == site.row else indent
    end = min(site.end_column - 1, len(raw)) if line == end_row and site.end_column else len(raw)
    if site.end_column is None:
        end = start + 1
    widened = len(raw[:start].replace("\t", TAB)), len(raw[:end].replace("\t", TAB))
    return Excerpt(line, raw.replace("\t", TAB), widened[0], max(widened[1], widened[0] + 1))


def mood(verdict: Verdict) -> Literal["well", "unsure", "ill"]:
    """Is the verdict good news, no news, or bad news? By its name alone."""
    if verdict.name in ("healthy", "no fault found"):
        return "well"
    return "unsure" if verdict.name == "not enough evidence" else "ill"
