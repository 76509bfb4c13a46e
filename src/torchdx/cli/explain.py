"""`torchdx explain`: a rule's page."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import click

from torchdx.cli.naming import rule_argument

if TYPE_CHECKING:
    from torchdx.rules import Rule


@click.command(short_help="Show a fault's page: how seen, why it hurts, what helps.")
@rule_argument
@click.option("--format", "form", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
def explain(rule: Rule, form: str) -> int:
    """Show the page of RULE, a code or a name: how the fault is seen, why it hurts, what helps, what is no fault."""
    from torchdx.pages import coloured, markdown, page

    if form == "markdown":
        click.echo(markdown(page(rule)), nl=False)
        return 0
    from rich.console import Console

    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    Console(width=width, highlight=False).print(coloured(page(rule), width), end="", soft_wrap=True)
    return 0
