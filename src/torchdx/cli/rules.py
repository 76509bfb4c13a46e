"""`torchdx rules`: every fault that torchdx knows."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torchdx.rules import Rule

HEADING = ("CODE", "RULE", "SEVERITY", "FAMILY", "FAULT")
NARROWEST = 20
"""A column narrower than this is worse to read than lines that run over."""


@click.command(short_help="List the faults that torchdx knows.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def rules(form: str) -> int:
    """List every fault that torchdx knows; 'torchdx explain RULE' tells more about one."""
    from torchdx.rules import all_rules

    entries = [entry(rule) for rule in all_rules()]
    if form == "json":
        import json

        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return 0
    columns = ("code", "rule", "severity", "family", "summary")
    table = [dict(zip(columns, HEADING, strict=True)), *entries]
    widths = [max(len(row[column]) for row in table) for column in columns[:-1]]
    for row in table:
        cells = "".join(f"{row[column]:<{width}}  " for column, width in zip(columns, widths, strict=False))
        for line in _lines(row["summary"], cells):
            click.echo(line)
    return 0


def _lines(summary: str, cells: str) -> list[str]:
    """A row of the table; at a terminal, its last cell goes on under itself where the line is full."""
    width = shutil.get_terminal_size().columns - len(cells)
    if not sys.stdout.isatty() or width < NARROWEST:
        return [cells + summary]
    first, *rest = textwrap.wrap(summary, width)
    return [cells + first, *(" " * len(cells) + line for line in rest)]


def entry(rule: Rule) -> dict[str, Any]:
    """A rule as data: what it is called, and which ways it sees its fault."""
    from torchdx.rules import RunRule, SourceRule, TreatableRule, name_of

    ways = {"source": SourceRule, "run": RunRule}
    return {
        "code": rule.code,
        "rule": name_of(rule),
        "family": rule.family,
        "severity": rule.severity,
        "summary": (rule.__doc__ or "").strip().partition("\n")[0],
        "seen_in": [way for way, kind in ways.items() if isinstance(rule, kind)],
        "treats": isinstance(rule, TreatableRule),
    }
