"""`torchdx case`: a fault in a small program, and the same program cured."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchdx.cli.naming import rule_argument
from torchdx.cli.words import Refusal

if TYPE_CHECKING:
    from torchdx.rules import Rule

SIGNS = {"+": "added", "-": "removed", "@": "gutter"}


@click.command(short_help="Show a fault in a small program, and the cure.")
@rule_argument
@click.option("--run", "tried", is_flag=True, help="Run both programs and show what torchdx says of each.")
def case(rule: Rule, tried: bool) -> int:
    """Show the case of RULE, a code or a name: a small sick program, as a diff to the same program cured."""
    from rich.console import Console
    from rich.text import Text

    from torchdx.pages import page
    from torchdx.report.lines import STYLES

    console = Console(highlight=False)
    for line in page(rule).diff.splitlines():
        console.print(Text(line, STYLES.get(SIGNS.get(line[:1], ""), "")), soft_wrap=True)
    if tried:
        _try(rule)
    return 0


def _try(rule: Rule) -> None:
    """Run the sick and the healthy program under the launcher and print what torchdx says of each."""
    from importlib.util import find_spec

    from torchdx.cli.examination import examine_record
    from torchdx.launch import launch
    from torchdx.pages import case_source
    from torchdx.report.text import show

    if find_spec("torch") is None:
        raise Refusal("To run a case takes PyTorch, and it is not installed here.")
    with tempfile.TemporaryDirectory(prefix="torchdx-case-") as name:
        folder = Path(name).resolve()
        for kind in ("sick", "healthy"):
            click.echo(f"\n--- {kind} ---")
            sys.stdout.flush()  # the program writes to the same place
            script = folder / f"{kind}.py"
            script.write_text(case_source(rule, kind), encoding="utf-8")
            launch([str(script)], folder / kind)
            show(examine_record(folder / kind)[1], sys.stdout)
