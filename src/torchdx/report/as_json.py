"""A diagnosis as JSON: the promise to other tools that docs/json.md documents."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from torchdx import __version__
from torchdx.finding import Diagnosis, Finding, Fix, near
from torchdx.record import Fact, Pipeline, Record
from torchdx.report.words import severity_of

VERSION = 1
"""Version of the promise. Keys may be added to it; a change that breaks a reader raises it."""


def as_json(diagnosis: Diagnosis, record: Record | None = None, *, indent: int | None = 2) -> str:
    """The diagnosis as strict JSON text; with a record, what was seen of its pipelines of data under `data`."""
    data = {"data": [_pipeline(one) for one in record.pipelines]} if record is not None else {}
    return json.dumps(as_data(diagnosis) | data, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def as_data(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as plain dicts, lists, strings and finite numbers."""
    verdict = diagnosis.verdict
    run: dict[str, Any] = dict.fromkeys(("steps", "looked", "overhead", "processes", "status"))
    return {
        "version": VERSION,
        "tool": {"name": "torchdx", "version": __version__},
        "verdict": {"name": verdict.name, "why": verdict.why, "evidence": strict(verdict.evidence)},
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "not_enough_evidence": [{"rule": lack.rule, "needs": lack.needs} for lack in diagnosis.not_enough],
        "run": {**run, **strict(diagnosis.run)},
    }


def _pipeline(pipeline: Pipeline) -> dict[str, Any]:
    """All that was seen of a pipeline, by kind."""
    facts = {kind: [_bare(fact) for fact in told] for kind, told in pipeline.facts.items() if told}
    return {**_bare(pipeline.fact), **strict(facts)}


def _bare(fact: Fact) -> dict[str, Any]:
    return {name: strict(value) for name, value in fact.items() if name not in ("kind", "pipeline")}


def _finding(finding: Finding) -> dict[str, Any]:
    site = finding.site
    return {
        "code": finding.code,
        "rule": finding.rule,
        "family": finding.family,
        "severity": severity_of(finding),
        "message": finding.message,
        "path": near(site.path) if site else None,
        "cell": site.cell.number if site and site.cell else None,
        "line": site.row if site else None,
        "column": site.column if site else None,
        "end_line": site.end_row if site else None,
        "end_column": site.end_column if site else None,
        "layer": finding.layer,
        "evidence": strict(finding.evidence),
        "confidence": strict(finding.confidence),
        "seen_in": list(finding.seen_in),
        "cure": finding.cure,
        "fixes": [_fix(fix) for fix in finding.fixes],
        "consequences": [_finding(consequence) for consequence in finding.consequences],
    }


def _fix(fix: Fix) -> dict[str, Any]:
    return {"title": fix.title, "patch": fix.patch, "safe": fix.safe}


def strict(value: Any) -> Any:
    """The value in what strict JSON can say; a number that is not finite becomes "NaN", "Infinity" or "-Infinity"."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((strict(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return str(value)
