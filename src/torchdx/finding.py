"""What every command ends in: findings at sites, gathered in a diagnosis.

Nothing here knows where a finding came from or how it will be shown. Every noun is frozen, prints itself, and can be
written by hand in a test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
Seen = Literal["source", "run"]


class Cell(NamedTuple):
    """A cell of a notebook: its number among all cells, from 1, and the line of the notebook's code it starts at."""

    number: int
    line: int


@dataclass(frozen=True, order=True)
class Site:
    """A place in a file; lines and columns count from 1, columns in characters.

    A notebook's code is one text to rules, and `line` counts through all of it; people are told the cell and the `row`.
    """

    path: str
    line: int
    column: int = 1
    end_line: int | None = None
    end_column: int | None = None
    cell: Cell | None = None

    def __str__(self) -> str:
        cell = f"#cell {self.cell.number}" if self.cell else ""
        return f"{near(self.path)}{cell}:{self.row}:{self.column}"

    @property
    def row(self) -> int:
        """Its line as a person counts: from the top of the file, or of its cell."""
        return self.line - self.cell.line + 1 if self.cell else self.line

    @property
    def end_row(self) -> int | None:
        """The line it ends on, counted like its row."""
        return None if self.end_line is None else self.end_line - self.line + self.row

    def seen_from(self, path: str) -> str:
        """How to name it to somebody who looks at the file `path`: "line 18", or "line 18 of models/net.py"."""
        here = f"line {self.row} of cell {self.cell.number}" if self.cell else f"line {self.row}"
        return here if self.path == path else f"{here} of {near(self.path)}"


def near(path: str) -> str:
    """The path relative to the working directory where it lies inside it, with forward slashes."""
    try:
        inside = os.path.relpath(path)
    except ValueError:  # another drive
        return path.replace(os.sep, "/")
    return (path if inside.startswith(os.pardir) else inside).replace(os.sep, "/")


@dataclass(frozen=True)
class Edit:
    """Replace the bytes from `start` to `end` (offsets into the file on disk) of one file by `text`."""

    path: str
    start: int
    end: int
    text: bytes


@dataclass(frozen=True)
class Fix:
    """One cure in words and, where it can be written, as edits and the unified diff they amount to.

    It is `safe`, and may be applied unseen, where the fault is proven and the edit can change nothing else: not what
    other code is given (another use of a returned value, keys of a `state_dict`, a default that other callers rely
    on), not a file or a machine it runs on, and not a number that its author may have chosen.
    """

    title: str
    edits: tuple[Edit, ...] = ()
    patch: str = ""
    safe: bool = False


@dataclass(frozen=True)
class Finding:
    """One fault, at one place, on measured evidence.

    A rule fills in what it saw; `code`, `rule`, `family` and `seen_in` are stamped on by the examination, which also
    hangs findings that this one explains under `consequences`. `evidence` maps the name of a measure to a number, a
    word, or a list of numbers (a curve to be plotted). `confidence` is the probability that the finding is true.
    """

    message: str
    site: Site | None = None
    layer: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    cure: str = ""
    confidence: float = 0.9
    severity: Severity | None = None
    code: str = ""
    rule: str = ""
    family: str = ""
    seen_in: tuple[Seen, ...] = ()
    fixes: tuple[Fix, ...] = ()
    consequences: tuple[Finding, ...] = ()

    def __str__(self) -> str:
        where = f"{self.site}: " if self.site else ""
        return f"{where}{self.code} {self.rule}: {self.message}"

    def family_tree(self) -> Iterator[Finding]:
        """This finding and everything that it explains, however deep."""
        yield self
        for consequence in self.consequences:
            yield from consequence.family_tree()


@dataclass(frozen=True)
class NotEnough:
    """A rule's own admission that what was seen does not suffice to judge; `needs` says what would."""

    needs: str
    rule: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer to the first question: is it the model, the optimisation, the data, or is all well?"""

    name: str
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnosis:
    """Everything that an examination has to say, ranked, most telling first."""

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    not_enough: tuple[NotEnough, ...] = ()
    run: Mapping[str, Any] = field(default_factory=dict)

    def all_findings(self) -> Iterator[Finding]:
        """Every finding, causes and the consequences under them."""
        for finding in self.findings:
            yield from finding.family_tree()

    def worst(self) -> Severity | None:
        """The gravest severity among the findings, or None where there is no finding."""
        present = {finding.severity for finding in self.all_findings()}
        return next((severity for severity in SEVERITIES if severity in present), None)
