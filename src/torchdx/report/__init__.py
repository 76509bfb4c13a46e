"""How a diagnosis is shown: each format is one function of a diagnosis; none of them decides anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torchdx.finding import Diagnosis

Pages = Mapping[str, str]
"""The rules' pages as Markdown, by code; formats that can carry help text take it from here."""


def _text(diagnosis: Diagnosis, pages: Pages) -> str:
    from torchdx.report.text import text

    return text(diagnosis)


def _json(diagnosis: Diagnosis, pages: Pages) -> str:
    from torchdx.report.as_json import as_json

    return as_json(diagnosis)


def _sarif(diagnosis: Diagnosis, pages: Pages) -> str:
    from torchdx.report.sarif import sarif

    return sarif(diagnosis, pages)


def _github(diagnosis: Diagnosis, pages: Pages) -> str:
    from torchdx.report.github import github

    return github(diagnosis)


FORMATS: Mapping[str, Callable[[Diagnosis, Pages], str]] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "github": _github,
}
"""What `--format` can be. Each is imported when it is first asked for, so that no format costs another's start-up."""
