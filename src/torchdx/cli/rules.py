"""`torchdx rules`: every fault that torchdx knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torchdx.rules import Rule


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
    columns = ("code", "rule", "severity", "family")
    widths = [max([len(entry[column]) for entry in entries], default=0) for column in columns]
    for each in entries:
        cells = (each[column].ljust(width) for column, width in zip(columns, widths, strict=True))
        click.echo(f"{'  '.join(cells)}  {each['summary']}")
    return 0


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
