"""A diagnosis as one self-contained web page: no network, no fonts, nothing to install."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from torchdx import __version__
from torchdx.finding import SEVERITIES, Diagnosis, Finding, NotEnough
from torchdx.record import Record
from torchdx.report.html.cards import CARDS, cards, measure
from torchdx.report.html.curves import losses
from torchdx.report.html.journey import pipelines
from torchdx.report.html.picture import health
from torchdx.report.html.svg import escape, prose
from torchdx.report.words import mood, needed, run_facts, severity_of, tally

NOTHING: Mapping[str, str] = {}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing but what is in it."""
MOST_LINKS = 12
"""More findings than these are told in the head by rule alone."""

CALM = {
    "well": "No fault was found.",
    "unsure": "Nothing was found, as too little was seen to judge.",
    "ill": "No rule knows the cause.",
}
"""What is said where there is no finding."""


def html(diagnosis: Diagnosis, record: Record | None = None, explained: Mapping[str, str] = NOTHING) -> str:
    """The page; `record` adds the pictures of the run, `explained` the rules' pages as HTML, by code."""
    body = [
        '<a class="skip" href="#findings">Skip to the findings</a>',
        _verdict(diagnosis),
        "<main>",
        _section("What the network really sees", pipelines(record)),
        _section("How training went", _pictures(diagnosis, record)),
        _findings(diagnosis, record, explained),
        _section("Not enough evidence", _not_enough(diagnosis.not_enough)),
        _section("The run", _run(diagnosis.run)),
        "</main>",
        f"<footer>torchdx {escape(__version__)}</footer>",
        f"<script>{_part('read_out.js')}</script>",
    ]
    title = escape(f"{diagnosis.verdict.name} · torchdx")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{title}</title><style>{_part("style.css")}</style>'
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{"".join(body)}</body></html>\n'


@cache
def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>{inside}</section>" if inside else ""


def _verdict(diagnosis: Diagnosis) -> str:
    verdict = diagnosis.verdict
    tiles = "".join(measure(name, value) for name, value in verdict.evidence.items())
    numbers = f'<dl class="measures">{tiles}</dl>' if tiles else ""
    name = verdict.name[:1].upper() + verdict.name[1:]
    return (
        f'<header class="verdict {mood(verdict)}"><div class="inside"><p class="brand">torchdx</p>'
        f'<h1>{escape(name)}</h1><p class="why">{prose(verdict.why)}</p>{numbers}{_index(diagnosis)}</div></header>'
    )


def _index(diagnosis: Diagnosis) -> str:
    """The findings in one glance, each a link to its card."""
    if not diagnosis.findings:
        return ""
    shown = diagnosis.findings[:CARDS]
    often = Counter(finding.rule for finding in diagnosis.findings)
    together = len(shown) > MOST_LINKS
    seen: set[tuple[str, str]] = set()
    links = ""
    for number, finding in enumerate(shown, 1):
        same = (finding.rule, severity_of(finding))
        if not together or same not in seen:
            links += _link(number, finding, often[finding.rule], together)
        seen.add(same)
    return f'<nav aria-label="findings"><p>{tally(diagnosis)}</p><ol>{links}</ol></nav>'


def _link(number: int, finding: Finding, often: int, together: bool) -> str:
    """A link to a finding's card; of several by one rule with the line, or, where there are many, with how many."""
    name = escape(finding.rule or finding.code or finding.message[:40])
    if often > 1 and together:
        name += f" <small>{often:,} times</small>"
    elif often > 1 and finding.site:
        name += f" <small>{finding.site.seen_from(finding.site.path)}</small>"
    return f'<li><a class="{severity_of(finding)}" href="#finding-{number}">{name}</a></li>'


def _pictures(diagnosis: Diagnosis, record: Record | None) -> str:
    if record is None:
        return ""
    return losses(record) + health(record, _marked(diagnosis))


def _marked(diagnosis: Diagnosis) -> dict[str, str]:
    """The gravest severity found in each layer."""
    marked: dict[str, str] = {}
    for finding in sorted(diagnosis.all_findings(), key=lambda found: SEVERITIES.index(severity_of(found))):
        if finding.layer:
            marked.setdefault(finding.layer, severity_of(finding))
    return marked


def _findings(diagnosis: Diagnosis, record: Record | None, explained: Mapping[str, str]) -> str:
    findings: Sequence[Finding] = diagnosis.findings
    calm = f'<p class="calm {(feeling := mood(diagnosis.verdict))}">{CALM[feeling]}</p>'
    inside = cards(findings, record, explained) if findings else calm
    return f'<section id="findings" tabindex="-1"><h2>Findings</h2>{inside}</section>'


def _not_enough(lacks: Sequence[NotEnough]) -> str:
    if not lacks:
        return ""
    groups: dict[str, list[str]] = {}
    for lack in lacks:
        groups.setdefault(needed(lack), []).append(lack.rule)
    rows = "".join(
        f"<li>{prose(needs)}<small>{escape(', '.join(dict.fromkeys(rule for rule in rules if rule)))}</small></li>"
        for needs, rules in groups.items()
    )
    return f'<p>These could not be judged; this is what it would take.</p><ul class="lacks">{rows}</ul>'


def _run(run: Mapping[str, Any]) -> str:
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>" for name, fact in run_facts(run))
    return f'<dl class="facts">{tiles}</dl>' if tiles else ""
