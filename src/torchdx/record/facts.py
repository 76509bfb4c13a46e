"""Facts on disk: one JSON object a line, one file a process, written as they come.

A fact is a mapping with a `kind`. What each kind holds is told in docs/record.md. Reading is tolerant: a line torn by a
kill, and kinds that a newer torchdx wrote, are passed over; only a newer *version* of the format is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

VERSION = 1
"""Version of the format; a change that old readers would misread raises it."""

PATTERN = "facts-*.jsonl"
"""Names of the files of facts in a record's folder."""

RUN = "run.json"
"""Name of the file that says what was run and how it ended."""

Fact = Mapping[str, Any]


class UnreadableRecord(Exception):
    """The folder holds no record, or one that this version cannot read; the message is one sentence for a person."""


def read_facts(path: Path) -> Iterator[Fact]:
    """Every whole fact of one file, in the order of writing.

    Raises UnreadableRecord where the file cannot be opened or is of a newer version.
    """
    try:
        with path.open("rb") as lines:
            for line in lines:
                fact = _whole(line)
                if fact is None:
                    continue
                if fact["kind"] == "process" and fact.get("version", VERSION) > VERSION:
                    raise UnreadableRecord(f"{path} was written by a newer torchdx (format {fact['version']}).")
                yield fact
    except OSError as error:
        raise UnreadableRecord(f"{path} cannot be read: {error.strerror or error}.") from error


def _whole(line: bytes) -> Fact | None:
    try:
        fact = json.loads(line)
    except ValueError:
        return None
    return fact if isinstance(fact, dict) and isinstance(fact.get("kind"), str) else None


def read_run(folder: Path) -> Fact:
    """What the launcher noted about the command; empty where training was watched from inside."""
    try:
        run = json.loads((folder / RUN).read_bytes())
    except (OSError, ValueError):
        return {}
    return run if isinstance(run, dict) else {}
