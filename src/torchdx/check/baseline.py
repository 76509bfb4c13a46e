"""What was there already: findings written down once, so that from then on only new ones are told.

A finding is known again by its rule, its file and the text of its line, so it may move up and down. Paths are relative
to the baseline's own folder.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torchdx.check.selection import BadSetting
from torchdx.check.sifting import sifted
from torchdx.finding import Diagnosis, Finding, Site
from torchdx.source import Program

VERSION = 1


class Known(NamedTuple):
    """One finding as a baseline knows it."""

    path: str
    code: str
    rule: str
    line: str


@dataclass(frozen=True)
class Compared:
    """The diagnosis of what is new, how many findings were known, and how many of those known are there no more."""

    diagnosis: Diagnosis
    known: int
    gone: int


@dataclass(frozen=True)
class Baseline:
    """Known findings, each with how often it is there."""

    folder: Path
    known: Counter[Known]

    @classmethod
    def of(cls, findings: Iterable[Finding], program: Program, file: Path) -> Baseline:
        """The baseline that a file would hold of the findings in a program."""
        folder = file.absolute().parent
        text = _line_in(program)
        return cls(folder, Counter(_known(finding, folder, text) for finding in findings))

    @classmethod
    def read(cls, file: Path) -> Baseline:
        """The baseline in a file; `BadSetting` where it holds none."""
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadSetting(f"The baseline {file} cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise BadSetting(f"The baseline {file} is not valid JSON.") from error
        version = data.get("version") if isinstance(data, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise BadSetting(f"The baseline {file} was written by a newer torchdx; write it anew.")
        try:
            return cls(file.absolute().parent, Counter(dict(_entry(entry) for entry in data["findings"])))
        except (TypeError, KeyError, ValueError) as error:
            raise BadSetting(f"{file} is no baseline; --write-baseline {file} writes one.") from error

    def text(self) -> str:
        """The baseline as it is written down: the same findings give the same bytes."""
        entries = [{**known._asdict(), "count": count} for known, count in sorted(self.known.items())]
        data = {"tool": "torchdx", "version": VERSION, "findings": entries}
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"

    def compared(self, diagnosis: Diagnosis, program: Program) -> Compared:
        """Take out of a program's diagnosis what is known, each as often as it is."""
        left, text = Counter(self.known), _line_in(program)

        def keep(finding: Finding) -> Finding | None:
            known = _known(finding, self.folder, text)
            if left[known] <= 0:
                return finding
            left[known] -= 1
            return None

        return Compared(sifted(diagnosis, keep), self.known.total() - left.total(), left.total())


def _entry(entry: Any) -> tuple[Known, int]:
    words = [entry[name] for name in Known._fields]
    count = entry.get("count", 1)
    if not all(isinstance(word, str) for word in words) or type(count) is not int or count < 1:
        raise ValueError("no entry of a baseline")
    return Known(*words), count


def _line_in(program: Program) -> Callable[[Site], str]:
    """The text of a site's line, however it is indented."""
    files = {file.path: file for file in program.files}

    def text(site: Site) -> str:
        file = files.get(site.path)
        return " ".join(file.line_bytes(site.line).decode(file.encoding, "replace").split()) if file else ""

    return text


def _known(finding: Finding, folder: Path, text: Callable[[Site], str]) -> Known:
    site = finding.site
    return Known(_inside(site.path, folder) if site else "", finding.code, finding.rule, text(site) if site else "")


def _inside(path: str, folder: Path) -> str:
    """The path as seen from the baseline's folder, wherever the check is started."""
    try:
        return os.path.relpath(os.path.realpath(path), os.path.realpath(folder)).replace(os.sep, "/")
    except ValueError:  # another drive
        return path.replace(os.sep, "/")
