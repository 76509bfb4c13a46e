"""A diagnosis for a terminal: the verdict, then each finding at its line of source, most telling first."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from torchdx.finding import Diagnosis, Finding, Fix, NotEnough
from torchdx.report.changes import rows
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

Line = list[tuple[str, str]]
"""One line as pieces of (words, style); a style is a key of STYLES, or empty."""

STYLES = {
    "error": "bold red",
    "warning": "bold yellow",
    "note": "bold cyan",
    "well": "bold green",
    "ill": "bold red",
    "unsure": "bold yellow",
    "strong": "bold",
    "dim": "bright_black",
    "gutter": "blue",
    "removed": "red",
    "added": "green",
    "cure": "green",
}
MARKS = {"well": "✓", "unsure": "?", "ill": "✗"}
PLAINER = str.maketrans({"│": "|", "→": ">", "·": "-", "…": "~", "✓": "+", "✗": "x"})
WIDEST = 110
DIFF_LINES, CONSEQUENCES, ALIKE = 12, 4, 5
"""How much of a patch, of consequences, and of findings that say the same is shown before "... and 3 more"."""


def text(diagnosis: Diagnosis, width: int = 100) -> str:
    """The diagnosis as plain text."""
    return "".join("".join(words for words, _ in line).rstrip() + "\n" for line in lines(diagnosis, width))


def coloured(diagnosis: Diagnosis, width: int = 100) -> Text:
    """The diagnosis as a rich Text."""
    from rich.text import Text

    told = Text()
    for line in lines(diagnosis, width):
        row = Text()
        for words, style in line:
            row.append(words, STYLES.get(style, ""))
        row.rstrip()
        told.append_text(row).append("\n")
    return told


def show(diagnosis: Diagnosis, stream: TextIO | None = None) -> None:
    """Print the diagnosis: in colour where the stream is a terminal and NO_COLOR is not set, plain otherwise."""
    stream = stream or sys.stderr
    terminal = stream.isatty()
    width = min(shutil.get_terminal_size().columns, WIDEST) if terminal else 100
    if terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        Console(file=stream, width=width, highlight=False).print(coloured(diagnosis, width), end="", soft_wrap=True)
    else:
        stream.write(speakable(text(diagnosis, width), stream.encoding))
    stream.flush()


def speakable(words: str, encoding: str | None) -> str:
    """The words with what the encoding cannot say put plainer."""
    try:
        words.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return words.translate(PLAINER).encode(encoding or "utf-8", "replace").decode(encoding or "utf-8")
    return words


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
        yield from _wrapped(part, width, style="dim")


def _verdict(diagnosis: Diagnosis, width: int) -> Iterator[Line]:
    verdict = diagnosis.verdict
    feeling = mood(verdict)
    yield [(f"{MARKS[feeling]} {verdict.name}", feeling)]
    yield from _wrapped(verdict.why, width, indent="  ")
    if verdict.evidence:
        yield from _wrapped(_measures(verdict.evidence), width, indent="  ", style="dim")


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
    yield from _wrapped(", ".join(place(each.site) for each in findings if each.site), width, indent="  ", style="dim")


def _head(finding: Finding, *, with_layer: bool = True) -> Line:
    severity = severity_of(finding)
    head: Line = [(f"{severity}[{finding.code}]" if finding.code else severity, severity)]
    head += [(f" {finding.rule}", "strong")] if finding.rule else []
    return head + ([(f" in {finding.layer}", "")] if with_layer and finding.layer else [])


def _finding(finding: Finding, width: int) -> Iterator[Line]:
    yield _shortened(_head(finding), width)
    yield from _wrapped(finding.message, width, indent="  ")
    yield from _source(finding, width)
    if finding.evidence:
        yield from _entry("evidence", _measures(finding.evidence), width, "")
    yield from _sureness(finding, width)
    if finding.cure:
        yield from _entry("cure", finding.cure, width, "cure")
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
        carets = "^" * max(1, _columns(words[start:end]))
        yield [
            (" " * (len(gutter) - 2) + "│ ", "gutter"),
            (" " * _columns(words[:start]) + carets, severity_of(finding)),
        ]


def _columns(words: str) -> int:
    """How many columns of a terminal the words take."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in words
    )


def _sureness(finding: Finding, width: int) -> Iterator[Line]:
    seen = " and ".join({"source": "the source", "run": "the run"}[where] for where in finding.seen_in)
    if seen:
        yield from _entry("seen in", f"{seen}, {percent(finding.confidence)} sure", width, "dim")


def _fix(fix: Fix, cure: str, width: int) -> Iterator[Line]:
    changed = rows(fix.patch)
    title = "" if cure and (changed or fix.title == cure) else fix.title  # the patch speaks for itself
    if title:
        yield from _entry("fix", title, width, "")
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
            yield _shortened([*lead, (words, "dim")], width)
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
        yield from _entry("" if k else "explains", words, width, "")
    if len(whole) > CONSEQUENCES:
        yield [(f"{'':<12}… and {len(whole) - CONSEQUENCES:,} more", "dim")]


def _not_enough(lacks: Iterable[NotEnough], width: int) -> Iterator[Line]:
    groups: dict[str, list[str]] = defaultdict(list)
    for lack in lacks:
        groups[needed(lack)].append(lack.rule)
    yield [("not enough evidence to judge", "unsure")]
    for needs, rules in groups.items():
        named = ", ".join(dict.fromkeys(rule for rule in rules if rule))
        yield from _wrapped(f"{named}: {needs}" if named else needs, width, indent="  ", style="dim", hang="    ")


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


def _entry(name: str, words: str, width: int, style: str) -> Iterator[Line]:
    for k, line in enumerate(_broken(words, width - 12)):
        yield [(f"  {'' if k else name:<10}", "dim"), (line, style)]


def _wrapped(words: str, width: int, *, indent: str = "", style: str = "", hang: str | None = None) -> Iterator[Line]:
    for k, line in enumerate(_broken(words, width - len(hang or indent))):
        yield [((hang if k and hang else indent) + line, style)]


def _broken(words: str, width: int) -> Iterator[str]:
    breaker = textwrap.TextWrapper(width=max(20, width), break_on_hyphens=False)
    for paragraph in words.splitlines():
        for line in breaker.wrap(paragraph):
            yield line.replace("\u00a0", " ")


def _shortened(line: Line, width: int) -> Line:
    """The line cut off at the width, with an ellipsis."""
    kept: Line = []
    room = width
    for words, style in line:
        if len(words) > room:
            return [*kept, (words[: max(0, room - 1)] + "…", style)]
        kept.append((words, style))
        room -= len(words)
    return kept
