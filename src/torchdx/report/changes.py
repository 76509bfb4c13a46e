"""A unified diff, as the few lines of it that a person has to see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")
LINE_END = re.compile(r"\r?\n|\r")


class Row(NamedTuple):
    """A line taken away ("-"), added ("+") or left (" "); its number in the file as it is, None for an added one."""

    sign: str
    number: int | None
    text: str

    def follows_a_gap(self, row: Row) -> bool:
        """Are lines left out between that row and this one?"""
        return self.number is not None and row.number is not None and self.number > row.number + 1


def rows(patch: str) -> list[Row]:
    """What changes; where lines are only added, also the nearest line on either side, which tells the place."""
    shown: list[Row] = []
    for hunk in _hunks(patch):
        runs = [list(run) for _, run in groupby(hunk, lambda row: row.sign == " ")]
        for at, run in enumerate(runs):
            if run[0].sign == " ":
                continue
            only_added = all(row.sign == "+" for row in run)
            before = _nearest(reversed(runs[at - 1])) if only_added and at else []
            after = _nearest(iter(runs[at + 1])) if only_added and at + 1 < len(runs) else []
            shown += [row for row in before if row not in shown] + run + after
    return shown


def _nearest(unchanged: Iterator[Row]) -> list[Row]:
    return [row for row in unchanged if row.text.strip()][:1]


def _hunks(patch: str) -> Iterator[list[Row]]:
    hunk: list[Row] = []
    number: int | None = None
    for line in LINE_END.split(patch):
        head = HUNK.match(line)
        if head or line.startswith(("--- ", "+++ ")):
            if hunk:
                yield hunk
            hunk, number = [], int(head[1]) if head else None
        elif line[:1] in ("+", "-", " "):
            hunk.append(Row(line[0], None if line[0] == "+" else number, line[1:].expandtabs(4)))
            if number is not None and line[0] != "+":
                number += 1
    if hunk:
        yield hunk
