"""A diagnosis as workflow commands, which GitHub Actions shows at the lines of a pull request."""

from __future__ import annotations

from torchdx.finding import Diagnosis, Finding, near
from torchdx.report.words import line_on_disk, severity_of

LEVELS = {"error": "error", "warning": "warning", "note": "notice"}


def github(diagnosis: Diagnosis) -> str:
    """One line a finding, causes and consequences; empty where there is none."""
    return "".join(_command(finding) + "\n" for finding in diagnosis.all_findings())


def _command(finding: Finding) -> str:
    told = {"title": f"{finding.code} {finding.rule}".strip() or "torchdx"}
    if (site := finding.site) and site.cell:
        told["title"] += f" ({site.seen_from(site.path)})"
        told = {"file": near(site.path), "line": str(line_on_disk(site)), **told}
    elif site:
        told = {"file": near(site.path), "line": str(site.line), "col": str(site.column), **told}
        if site.end_line is not None:
            told["endLine"] = str(site.end_line)
        if site.end_column is not None and site.end_line in (None, site.line):  # GitHub takes it on one line only
            told["endColumn"] = str(max(site.column, site.end_column - 1))
    layer = f" (layer {finding.layer})" if finding.layer else ""
    cure = f"\nCure: {finding.cure}" if finding.cure else ""
    properties = ",".join(f"{name}={_in_property(value)}" for name, value in told.items())
    return f"::{LEVELS[severity_of(finding)]} {properties}::{_in_message(finding.message + layer + cure)}"


def _in_message(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _in_property(words: str) -> str:
    return _in_message(words).replace(":", "%3A").replace(",", "%2C")
