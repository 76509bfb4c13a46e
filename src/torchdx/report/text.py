"""A diagnosis for a terminal: the verdict, then each finding at its line of source, most telling first."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from torchdx.finding import Diagnosis, Finding, Fix, NotEnough
from torchdx.report.changes import rows
from torchdx.report.lines import Line, columns, entry, in_colour, plain, put, shortened, wrapped
from torchdx.report.words import (
    counted,
    excerpt,
    label,
    mood,
    needed,
    percent,
    place,
    run_facts,
    said,
    severity_of,
    tally,
)

if TYPE_CHECKING:
    from rich.text import Text

MARKS = {"well": "✓", "unsure": "?", "ill": "✗"}
DIFF_LINES, CONSEQUENCES, ALIKE = 12, 4, 5
"""How much of a patch, of consequences, and of findings that say the same is shown before "... and 3 more"."""


def text(diagnosis: Diagnosis, width: int = 100) -> str:
    """The diagnosis as plain text."""
    return plain(lines(diagnosis, width))


def coloured(diagnosis: Diagnosis, width: int = 100) -> Text:
    """The diagnosis as a rich Text."""
    return in_colour(lines(diagnosis, width))


def show(diagnosis: Diagnosis, stream: TextIO | None = None) -> None:
    """Print the diagnosis: in colour where the stream is a terminal and NO_COLOR is not set, plain otherwise."""
    put(lambda width: lines(diagnosis, width), stream or sys.stderr)


def lines(diagnosis: Diagnosis, width: int = 100) -> Iterator[Line]:
    """The diagnosis line by line."""
    width = max(40, width)
    yield from _verdict(diagnosis, width)
    yield from _findings(diagnosis.findings, width)
    if diagnosis.not_enough and diagnosis.verdict.name != "healthy":
        yield []
        yield from _not_enough(diagnosis.not_enough, width)
    closing = [part for part in (tally(diagnosis), _run(diagnosis.run)) if part]
    if closing:
        yield []
    for part in closing:
        yield from wrapped(part, width, style="dim")


def _verdict(diagnosis: Diagnosis, width: int) -> Iterator[Line]:
    verdict = diagnosis.verdict
    feeling = mood(verdict)
    yield [(f"{MARKS[feeling]} {verdict.name}", feeling)]
    yield from wrapped(verdict.why, width, indent="  ")
    if verdict.evidence:
        yield from wrapped(_measures(verdict.evidence), width, indent="  ", style="dim")


def _findings(findings: Iterable[Finding], width: int) -> Iterator[Line]:
    """Each at length; of many that say the same, the first, and then only where the others are."""
    alike: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        same = alike[severity_of(finding), finding.code or finding.message]
        same.append(finding)
        if len(same) <= ALIKE or finding.consequences or finding.site is None:
            yield []
            yield from _finding(finding, width)
    for same in alike.values():
        left = [finding for finding in same[ALIKE:] if not finding.consequences and finding.site is not None]
        if left:
            yield []
            yield from _elsewhere(left, width)


def _elsewhere(findings: Sequence[Finding], width: int) -> Iterator[Line]:
    yield [*_head(findings[0], with_layer=False), (f": {counted(len(findings), 'more place')}", "")]
    yield from wrapped(", ".join(place(each.site) for each in findings if each.site), width, indent="  ", style="dim")


def _head(finding: Finding, *, with_layer: bool = True) -> Line:
    severity = severity_of(finding)
    head: Line = [(f"{severity}[{finding.code}]" if finding.code else severity, severity)]
    head += [(f" {finding.rule}", "strong")] if finding.rule else []
    return head + ([(f" in {finding.layer}", "")] if with_layer and finding.layer else [])


def _finding(finding: Finding, width: int) -> Iterator[Line]:
    yield shortened(_head(finding), width)
    yield from wrapped(finding.message, width, indent="  ")
    yield from _source(finding, width)
    if finding.evidence:
        yield from entry("evidence", _measures(finding.evidence), width, "")
    yield from _sureness(finding, width)
    if finding.cure:
        yield from entry("cure", finding.cure, width, "cure")
    for fix in finding.fixes[:1]:
        yield from _fix(fix, finding.cure, width)
    yield from _consequences(finding.consequences, width)


def _source(finding: Finding, width: int) -> Iterator[Line]:
    site = finding.site
    if not site:
        return
    yield [("  → ", "gutter"), (place(site), "")]
    for shown in excerpt(site)[:1]:
        gutter = f"  {shown.number} │ "
        room = width - len(gutter)
        skipped = max(0, min(shown.start - room // 3, len(shown.text) - room)) if len(shown.text) > room else 0
        words = ("…" if skipped else "") + shown.text[skipped:]
        start, end = (at - skipped + bool(skipped) for at in (shown.start, shown.end))
        words = words if len(words) <= room else words[: room - 1] + "…"
        yield [(gutter, "gutter"), (words, "")]
        carets = "^" * max(1, columns(words[start:end]))
        yield [
            (" " * (len(gutter) - 2) + "│ ", "gutter"),
            (" " * columns(words[:start]) + carets, severity_of(finding)),
        ]


def _sureness(finding: Finding, width: int) -> Iterator[Line]:
    seen = " and ".join({"source": "the source", "run": "the run"}[where] for where in finding.seen_in)
    if seen:
        yield from entry("seen in", f"{seen}, {percent(finding.confidence)} sure", width, "dim")


def _fix(fix: Fix, cure: str, width: int) -> Iterator[Line]:
    changed = rows(fix.patch)
    title = "" if cure and (changed or fix.title == cure) else fix.title  # the patch speaks for itself
    if title:
        yield from entry("fix", title, width, "")
    indent = min((len(row.text) - len(row.text.lstrip()) for row in changed if row.text.strip()), default=0)
    # numbers tell the place of lines that stand between unchanged ones; a line to take away is known by its words
    digits = max((len(str(row.number)) for row in changed if row.number), default=0)
    placed = any(row.sign == " " for row in changed)
    for k, row in enumerate(changed[:DIFF_LINES]):
        lead: Line = [(f"  {'fix' if not k and not title else '':<10}", "dim")]
        if placed:
            if k and row.follows_a_gap(changed[k - 1]):
                yield [(f"{'':<12}{'':>{digits}} │ …", "gutter")]
            lead.append((f"{row.number or '':>{digits}} │ ", "gutter"))
        words = f"{row.sign} {row.text[indent:]}"
        if row.sign == " ":
            yield shortened([*lead, (words, "dim")], width)
        else:  # whole, however long: it is to be copied
            yield [*lead, (words, "added" if row.sign == "+" else "removed")]
    if len(changed) > DIFF_LINES:
        yield [(f"{'':<12}… and {counted(len(changed) - DIFF_LINES, 'line')} more", "dim")]


def _consequences(consequences: Iterable[Finding], width: int) -> Iterator[Line]:
    whole = [item for consequence in consequences for item in consequence.family_tree()]
    for k, item in enumerate(whole[:CONSEQUENCES]):
        where = f" in {item.layer}" if item.layer else ""
        at = f" ({place(item.site)})" if item.site else ""
        words = f"{item.code} {item.rule}{where}: {item.message}{at}".strip()
        yield from entry("" if k else "explains", words, width, "")
    if len(whole) > CONSEQUENCES:
        yield [(f"{'':<12}… and {len(whole) - CONSEQUENCES:,} more", "dim")]


def _not_enough(lacks: Iterable[NotEnough], width: int) -> Iterator[Line]:
    groups: dict[str, list[str]] = defaultdict(list)
    for lack in lacks:
        groups[needed(lack)].append(lack.rule)
    yield [("not enough evidence to judge", "unsure")]
    for needs, rules in groups.items():
        named = ", ".join(dict.fromkeys(rule for rule in rules if rule))
        yield from wrapped(f"{named}: {needs}" if named else needs, width, indent="  ", style="dim", hang="    ")


def _run(run: Mapping[str, Any]) -> str:
    facts = dict(run_facts(run))
    parts = []
    if "steps" in facts:
        looked = f", {facts['looked at']} looked at" if run["steps"] and "looked at" in facts else ""
        parts.append(f"{counted(run['steps'], 'step') if run['steps'] else 'no optimizer step'}{looked}")
    parts += [f"overhead {facts['overhead']}"] if "overhead" in facts else []
    parts += [counted(run["processes"], "process")] if "processes" in facts else []
    parts += [counted(run["ranks"], "rank")] if "ranks" in facts else []
    parts += [facts["took"]] if "took" in facts else []
    parts += [facts["ended"]] if "ended" in facts else []
    return " · ".join(parts)


def _measures(evidence: Mapping[str, Any]) -> str:
    # a no-break space keeps a name and its value on one line; it is put back once lines are broken
    parts = (f"{label(name)} {said(name, value)}".replace(" ", "\u00a0") for name, value in evidence.items())
    return " · ".join(dict.fromkeys(parts))
