"""Comments that silence a finding where it stands: `# torchdx: ok RULE - reason`."""

from __future__ import annotations

import ast
import io
import os
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from torchdx.check.selection import NO_REASON, OWN, UNUSED, UnknownRule, codes_of
from torchdx.check.sifting import sifted
from torchdx.finding import Diagnosis, Finding, Severity, Site
from torchdx.record import Record
from torchdx.rules import RunRule, SourceRule, find_rule
from torchdx.source import SourceFile

MARK = re.compile(r"#\s*torchdx:\s*ok\b[ \t]*(?P<rest>.*)", re.IGNORECASE)
PARTS = re.compile(r"(?P<rules>[\w-]+(?:\s*,\s*[\w-]+)*)?\s*(?:(?<!\S)[-–—]+(?:\s+(?P<reason>.*))?)?$")
LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(eq=False)
class Silence:
    """One such comment: where it stands, the lines that it is about, the rules it names, and which of them it met."""

    site: Site
    lines: range
    rules: tuple[str, ...]
    reason: str
    met: set[str] = field(default_factory=set)

    def covers(self, finding: Finding) -> bool:
        """Is the finding one that it silences? If so, that is remembered."""
        site = finding.site
        if site is None or not self.reason or site.line not in self.lines:
            return False
        if site.path != self.site.path and os.path.realpath(site.path) != os.path.realpath(self.site.path):
            return False
        named = {word for word in self.rules if finding.code in _codes(word)}
        self.met |= named
        return bool(named)


def _codes(word: str) -> frozenset[str]:
    try:
        return codes_of(word)
    except UnknownRule:
        return frozenset()


def quieted(
    diagnosis: Diagnosis, files: Iterable[SourceFile], record: Record | None = None, *, audit: bool = False
) -> Diagnosis:
    """The diagnosis without what comments silence; with `audit`, and with what is to be said of the comments."""
    found = [silence for file in files for silence in silences(file)]
    if not found:
        return diagnosis

    def keep(finding: Finding) -> Finding | None:
        return None if [silence for silence in found if silence.covers(finding)] else finding  # all are to know of it

    kept = sifted(diagnosis, keep, record)
    if not audit:
        return kept
    more = [said for silence in found for said in _said(silence)]
    return sifted(kept, lambda finding: finding, record, more)


def silences(file: SourceFile) -> Iterator[Silence]:
    """The comments of a file that silence something."""
    if b"torchdx:" not in file.bytes:
        return
    lines = LINE_END.split(file.text)
    spans = _spans(file.tree)
    for line, column, words in _comments(file.text, lines):
        found = MARK.search(words)
        if found is None:
            continue
        alone = not lines[line - 1][:column].strip()
        parts = PARTS.match(found["rest"].strip())
        rules = (parts["rules"] or "") if parts else found["rest"].split()[0].strip(",:")
        yield Silence(
            site=_site(file, lines[line - 1], line, column + found.start(), column + len(words)),
            lines=_lines(spans, _below(lines, line) if alone else line, alone),
            rules=tuple(word.strip() for word in rules.split(",") if word.strip()),
            reason=((parts["reason"] or "") if parts else "").strip(),
        )


def _comments(text: str, lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Line, column and words of every comment; where there is more than Python in the text, of what looks like one."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text, newline=None).readline))
    except (SyntaxError, tokenize.TokenError):
        places = ((number, MARK.search(words), words) for number, words in enumerate(lines, 1))
        yield from ((number, found.start(), words[found.start() :]) for number, found, words in places if found)
        return
    yield from ((*token.start, token.string) for token in tokens if token.type == tokenize.COMMENT)


def _below(lines: list[str], line: int) -> int:
    """The next line that has more than a comment on it."""
    later = (number for number in range(line + 1, len(lines) + 1) if lines[number - 1].strip())
    return next((number for number in later if not lines[number - 1].lstrip().startswith("#")), line)


def _site(file: SourceFile, text: str, line: int, start: int, end: int) -> Site:
    """The site of the characters from `start` to `end` of a line."""
    first, last = (len(text[:column].encode("utf-8", "surrogatepass")) for column in (start, end))
    return file.site(ast.Pass(lineno=line, col_offset=first, end_lineno=line, end_col_offset=last))


def _spans(tree: ast.Module) -> list[range]:
    """The lines of every statement; of one that holds others, those before them."""
    spans = []
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            body = getattr(node, "body", None) or getattr(node, "cases", None)
            last = (body[0].lineno if hasattr(body[0], "lineno") else body[0].pattern.lineno) - 1 if body else 0
            spans.append(range(node.lineno, max(last, node.lineno) + 1 if body else (node.end_lineno or 0) + 1))
    return spans


def _lines(spans: list[range], line: int, alone: bool) -> range:
    """The statement that begins below a comment alone on its line, or that ends where a comment stands."""
    for span in spans:
        if span and line == (span[0] if alone else span[-1]):
            return span
    return range(line, line + 1)


def _said(silence: Silence) -> Iterator[Finding]:
    """What is to be said of a comment: that it lacks its reason, names no rule, or has nothing to silence."""
    if not silence.rules:
        yield _own(silence, UNUSED, "warning", "this comment names no rule, and silences nothing")
        return
    if not silence.reason:
        words = "this comment gives no reason, and silences nothing until it does"
        yield _own(silence, NO_REASON, "warning", words, f"write `# torchdx: ok {', '.join(silence.rules)} - reason`")
        return
    for word in silence.rules:
        rule = find_rule(word)
        if not _codes(word):
            yield _own(silence, UNUSED, "warning", f"there is no rule {word!r} to silence")
        elif word not in silence.met and (rule is None or isinstance(rule, SourceRule)):
            unless = ", unless `torchdx run` finds it here" if rule is None or isinstance(rule, RunRule) else ""
            yield _own(silence, UNUSED, "note", f"no {word} is found here: the comment may go{unless}")


def _own(silence: Silence, code: str, severity: Severity, words: str, cure: str = "") -> Finding:
    return Finding(
        message=words,
        site=silence.site,
        cure=cure or "take the comment out",
        confidence=0.99,
        severity=severity,
        code=code,
        rule=OWN[code],
        family="comments",
        seen_in=("source",),
    )
