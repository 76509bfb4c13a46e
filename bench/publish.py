"""Put a benchmark's numbers where they can be read: JSON, a Markdown table, and its section of README.md."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def publish(name: str, results: Mapping[str, Any], header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the table, write NAME.json, and renew the section NAME of README.md."""
    table = markdown([header, *rows])
    print(table)
    made_with = {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()}
    (HERE / f"{name}.json").write_text(json.dumps({"made_with": made_with, **results}, indent=2) + "\n")
    page = HERE / "README.md"
    section = re.compile(rf"(<!-- {name}: [^\n]*\n).*?(<!-- /{name} -->)", re.DOTALL)
    page.write_text(section.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", page.read_text()))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the header first, as a Markdown table that is aligned in plain text, too."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
