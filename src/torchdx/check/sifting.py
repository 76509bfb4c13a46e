"""A diagnosis with fewer findings: what hung under one that goes stands for itself, and the verdict is drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from torchdx.exam.symptoms import Course, course_of
from torchdx.exam.verdict import verdict_of
from torchdx.finding import Diagnosis, Finding
from torchdx.record import Record

Keep = Callable[[Finding], Finding | None]
"""Gives a finding as it is to be told, or None."""


def sifted(diagnosis: Diagnosis, keep: Keep, record: Record | None = None, more: Sequence[Finding] = ()) -> Diagnosis:
    """The diagnosis with the findings that are kept and some more, notes last."""
    found = sorted([*_kept(diagnosis.findings, keep), *more], key=lambda finding: finding.severity == "note")
    if tuple(found) == diagnosis.findings:
        return diagnosis
    course = course_of(record) if record is not None else Course(0)
    return replace(diagnosis, findings=tuple(found), verdict=verdict_of(record, course, found))


def _kept(findings: Iterable[Finding], keep: Keep) -> Iterator[Finding]:
    for finding in findings:
        below = tuple(_kept(finding.consequences, keep))
        kept = keep(replace(finding, consequences=()))
        if kept is None:
            yield from below
        else:
            yield replace(kept, consequences=below)
