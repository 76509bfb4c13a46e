"""What torchdx says of each program, how early it could have said it, and what it read on every threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchdx.exam import examine
from torchdx.exam.experience import Experience
from torchdx.exam.symptoms import course_of
from torchdx.finding import Diagnosis, Finding
from torchdx.record import Record
from torchdx.rules import all_rules, measures, name_of
from torchdx.source import Program

MARKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Steps after which the record is cut off, to see whether it would have sufficed."""


def said(script: Path, folder: Path) -> frozenset[str]:
    """Every rule that warned, be it of a cause or of a consequence, and every symptom."""
    record = Record.read(folder)
    return frozenset(_loud(examine(Program.around(script), record)) | course_of(record).symptoms)


def answer(script: Path, folder: Path, causes: frozenset[str], experience: Experience) -> dict[str, Any]:
    """All that is told of a program and its run by one who has this experience, as data."""
    program, record = Program.around(script), Record.read(folder)
    diagnosis = examine(program, record, experience=experience)
    readings, failed = _readings(record)
    failed += [lack.rule for lack in diagnosis.not_enough if lack.needs.startswith("the rule itself failed")]
    return {
        "steps": record.steps,
        "looks": record.looks,
        "verdict": diagnosis.verdict.name,
        "findings": [_told(finding) for finding in diagnosis.findings],
        "failed": failed,
        "known_at": _known_at(program, record, causes) if causes & _names(diagnosis) else None,
        "readings": readings,
        "disarmed": [fact.get("probe") for fact in record.process.all("disarmed")],
    }


def _told(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "code": finding.code,
        "severity": finding.severity,
        "confidence": round(finding.confidence, 3),
        "seen_in": list(finding.seen_in),
        "line": finding.site.line if finding.site else None,
        "message": finding.message,
        "consequences": [inner.rule for inner in finding.family_tree() if inner is not finding],
    }


def _loud(diagnosis: Diagnosis) -> set[str]:
    return {finding.rule for finding in diagnosis.all_findings() if finding.severity != "note"}


def _names(diagnosis: Diagnosis) -> set[str]:
    return {finding.rule for finding in diagnosis.all_findings()}


def _known_at(program: Program, record: Record, causes: frozenset[str]) -> int:
    """After how many optimizer steps the true cause was first told; 0 where the source alone gives it away."""
    if causes & _names(examine(program, None)):
        return 0
    marks: Sequence[int] = [mark for mark in MARKS if mark < record.steps]
    return next((mark for mark in marks if causes & _names(examine(None, record.until(mark)))), record.steps)


def _readings(record: Record) -> tuple[dict[str, float | None], list[str]]:
    """What every rule that measures holds against its thresholds, named RULE.CONSTANT; and the rules that failed."""
    readings: dict[str, float | None] = {}
    failed = []
    for rule in all_rules():
        if measures(rule) and all(record.process.all(kind) for kind in rule.needs):
            try:
                for name, value in rule.readings(record):
                    readings[f"{name_of(rule)}.{name}"] = float(f"{value:.6g}") if math.isfinite(value) else None
            except Exception as error:
                failed.append(f"{name_of(rule)}: {type(error).__name__}")
    return readings, failed
