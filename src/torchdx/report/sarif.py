"""A diagnosis as SARIF 2.1.0, which code scanning services and editors read."""

from __future__ import annotations

import hashlib
import io
import json
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torchdx import __version__
from torchdx.finding import Diagnosis, Edit, Finding, Fix, Site, near
from torchdx.report.as_json import as_data, strict
from torchdx.report.words import ending, excerpt, line_on_disk, severity_of

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
BASE = "%SRCROOT%"
"""What relative addresses are relative to; code scanning services put the checkout in its place."""

FINGERPRINT = "torchdxFinding/v1"
NOTHING: Mapping[str, str] = {}

Json = dict[str, Any]


def sarif(diagnosis: Diagnosis, pages: Mapping[str, str] = NOTHING) -> str:
    """The diagnosis as SARIF text; `pages` holds the rules' pages as Markdown, by code, for the help texts."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(diagnosis, pages)]}
    return json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _run(diagnosis: Diagnosis, pages: Mapping[str, str]) -> Json:
    leading = {finding.code: finding for finding in reversed(diagnosis.findings)}
    codes = sorted(leading)
    rules = [_rule(leading[code], pages.get(code, "")) for code in codes]
    told: Counter[str] = Counter()
    run: Json = {
        "tool": {"driver": {"name": "torchdx", "version": __version__, "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {BASE: {"uri": Path.cwd().as_uri() + "/"}},
        "results": [_result(finding, codes.index(finding.code), told) for finding in diagnosis.findings],
        "properties": {key: as_data(diagnosis)[key] for key in ("verdict", "not_enough_evidence", "run")},
    }
    if diagnosis.run.get("status") is not None:
        run["invocations"] = [_invocation(diagnosis.run)]
    return run


def _invocation(run: Mapping[str, Any]) -> Json:
    status = run["status"]
    told: Json = {"executionSuccessful": ending(status) == ending(0), "exitCodeDescription": ending(status)}
    if isinstance(status, int):
        told |= {"exitCode": status} if status >= 0 else {"exitSignalNumber": -status}
    if command := run.get("command"):
        told["commandLine"] = command if isinstance(command, str) else " ".join(map(str, command))
    return told


def _rule(finding: Finding, page: str) -> Json:
    title = next((line.lstrip("# ") for line in page.splitlines() if line.startswith("# ")), "")
    plain_help = page or finding.cure or finding.message
    return {
        "id": finding.code,
        "name": "".join(word.capitalize() for word in finding.rule.split("-")) or finding.code,
        "shortDescription": {"text": title or finding.rule.replace("-", " ") or finding.message},
        "fullDescription": {"text": title or finding.message},
        "help": {"text": plain_help, "markdown": plain_help},
        "defaultConfiguration": {"level": severity_of(finding)},
        "properties": {"tags": [tag for tag in ("pytorch", finding.family) if tag]},
    }


def _result(finding: Finding, rule: int, told: Counter[str]) -> Json:
    print_ = _fingerprint(finding)
    told[print_] += 1
    result: Json = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": severity_of(finding),
        "message": {"text": finding.message + (f"\nCure: {finding.cure}" if finding.cure else "")},
        "locations": _locations(finding),
        "partialFingerprints": {FINGERPRINT: f"{print_}:{told[print_]}"},
        "rank": min(100.0, max(0.0, finding.confidence * 100)) if finding.confidence == finding.confidence else 0.0,
        "properties": {"evidence": strict(finding.evidence), "seen_in": list(finding.seen_in)},
    }
    consequences = [item for item in finding.family_tree() if item is not finding]
    if consequences:
        result["relatedLocations"] = [_related(item, finding, k) for k, item in enumerate(consequences, 1)]
    in_notebook = finding.site is not None and finding.site.cell  # where edits are of the code, and not of the file
    fixes = [_fix(fix) for fix in finding.fixes if fix.edits and not in_notebook]
    if fixes:
        result["fixes"] = fixes
    return result


def _fingerprint(finding: Finding) -> str:
    """What stays the same of a finding when lines above it come and go."""
    site = finding.site
    line = next((shown.text.strip() for shown in excerpt(site)), "") if site else ""
    parts = (finding.code, near(site.path) if site else "", line, finding.layer or "")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _locations(finding: Finding) -> list[Json]:
    location: Json = {}
    if finding.site:
        location["physicalLocation"] = _physical(finding.site)
    logical = [{"fullyQualifiedName": finding.layer, "kind": "module"}] if finding.layer else []
    if finding.site and finding.site.cell:
        logical.append({"fullyQualifiedName": finding.site.seen_from(finding.site.path), "kind": "cell"})
    if logical:
        location["logicalLocations"] = logical
    return [location] if location else []


def _related(consequence: Finding, cause: Finding, number: int) -> Json:
    # code scanning services want a file of every place: a consequence without one is shown at its cause
    location = next(iter(_locations(consequence)), {})
    if "physicalLocation" not in location and cause.site:
        location = {"physicalLocation": _physical(cause.site), **location}
    words = f"It explains {consequence.code} {consequence.rule}: {consequence.message}"
    return {"id": number, **location, "message": {"text": words}}


def _physical(site: Site) -> Json:
    if site.cell:  # no viewer knows of cells: the line of the JSON is the one that all of them find
        return {"artifactLocation": _address(site.path), "region": {"startLine": line_on_disk(site)}}
    region = {"startLine": site.line, "startColumn": site.column}
    if site.end_line is not None:
        region["endLine"] = site.end_line
    if site.end_column is not None:
        region["endColumn"] = site.end_column
    return {"artifactLocation": _address(site.path), "region": region}


def _address(path: str) -> Json:
    shown = near(path)
    if Path(shown).is_absolute():
        return {"uri": Path(shown).as_uri()}
    return {"uri": quote(shown), "uriBaseId": BASE}


def _fix(fix: Fix) -> Json:
    paths = dict.fromkeys(edit.path for edit in fix.edits)
    return {
        "description": {"text": fix.title},
        "artifactChanges": [_change(path, [edit for edit in fix.edits if edit.path == path]) for path in paths],
    }


def _change(path: str, edits: Iterable[Edit]) -> Json:
    return {"artifactLocation": _address(path), "replacements": [_replacement(edit) for edit in edits]}


def _replacement(edit: Edit) -> Json:
    content, encoding = _content(edit.path)
    if edit.end > len(content):  # the file has changed since, or is gone: say it by bytes, as it was written
        region: Json = {"byteOffset": edit.start, "byteLength": edit.end - edit.start}
    else:
        start, end = (_line_and_column(content[:offset], encoding) for offset in (edit.start, edit.end))
        region = {"startLine": start[0], "startColumn": start[1], "endLine": end[0], "endColumn": end[1]}
    replacement: Json = {"deletedRegion": region}
    if edit.text:
        replacement["insertedContent"] = {"text": edit.text.decode(encoding, "replace")}
    return replacement


def _line_and_column(before: bytes, encoding: str) -> tuple[int, int]:
    lines = before.decode(encoding, "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return len(lines), len(lines[-1]) + 1


@lru_cache(maxsize=64)
def _content(path: str) -> tuple[bytes, str]:
    try:
        content = Path(path).read_bytes()
        return content, tokenize.detect_encoding(io.BytesIO(content).readline)[0]
    except (OSError, SyntaxError):
        return b"", "utf-8"
