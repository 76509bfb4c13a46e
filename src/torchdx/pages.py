"""A rule's docstring and cases as a page: on a terminal, in Markdown, in HTML; `python -m torchdx.pages docs/rules`.

Nothing of a case is run here, and torch is not imported: a case is shown by its source.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torchdx.finding import Severity
from torchdx.rules import Rule, all_rules, name_of

if TYPE_CHECKING:
    from rich.text import Text

PARTS = ("Seen as", "Hurts because", "Helped by", "No fault when", "Sources")
"""The parts of a page, each begun in the docstring by these words at the start of a paragraph."""

Kind = Literal["sick", "healthy", "looks_like_it"]
_PART = re.compile(rf"^({'|'.join(PARTS)})\b[ \t]*(?:\.\.\.|:)?[ \t]*", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """What there is to know about a rule."""

    code: str
    name: str
    family: str
    severity: Severity
    title: str
    parts: Mapping[str, str]
    sick: str
    healthy: str

    @cached_property
    def diff(self) -> str:
        """The cure of the case, as a unified diff from sick to healthy."""
        before, after = (_unmarked(case).splitlines() for case in (self.sick, self.healthy))
        told = list(unified_diff(before, after, "sick", "healthy", lineterm=""))
        return "\n".join(told)


def _unmarked(case: str) -> str:
    """The case without the marks of its bad lines, which are for tests, not for readers."""
    return re.sub(r"[ \t]*# TDX\d{3}[ \t]*$", "", case, flags=re.MULTILINE)


def page(rule: Rule) -> Page:
    """The page of a rule."""
    title, parts = parts_of(rule.__doc__ or "")
    return Page(
        code=rule.code,
        name=name_of(rule),
        family=rule.family,
        severity=rule.severity,
        title=title,
        parts=parts,
        sick=_body(rule, "sick"),
        healthy=_body(rule, "healthy"),
    )


def parts_of(docstring: str) -> tuple[str, dict[str, str]]:
    """A rule's first sentence, and its parts by their opening words; what stands in no part is left out."""
    doc = inspect.cleandoc(docstring)
    title, _, rest = doc.partition("\n")
    found = list(_PART.finditer(rest))
    ends = [match.start() for match in found[1:]] + [len(rest)]
    return title.strip(), {match[1]: _tidy(rest[match.end() : end]) for match, end in zip(found, ends, strict=False)}


def _tidy(words: str) -> str:
    """The text of a part; where its second line hangs, what follows is moved back by as much."""
    first, *rest = words.strip().split("\n")
    margin = len(rest[0]) - len(rest[0].lstrip()) if rest else 0
    return "\n".join([first, *(line[min(margin, len(line) - len(line.lstrip())) :].rstrip() for line in rest)])


# --- cases


def case_source(rule: Rule, kind: Kind) -> str:
    """A rule's case as the text of a script that can be run; its line markers, such as `# TDX301`, are kept."""
    return f"# {rule.code} {name_of(rule)}: the case that {_IS[kind]}, `torchdx case {rule.code}`\n{_body(rule, kind)}"


_IS = {"sick": "is sick", "healthy": "is healthy", "looks_like_it": "only looks sick"}


def _body(rule: Rule, kind: Kind) -> str:
    """The body of a case's function, dedented, with its comments and without its docstring."""
    source = textwrap.dedent(inspect.getsource(getattr(rule, kind)))
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    lines = source.splitlines()
    first = function.body[0]
    if first.lineno == function.lineno:  # def sick() -> None: ...
        return lines[first.lineno - 1][first.col_offset :] + "\n"
    if ast.get_docstring(function) is not None:
        start = first.end_lineno or first.lineno
    else:
        start = min([first.lineno, *(mark.lineno for mark in getattr(first, "decorator_list", ()))]) - 1
        while lines[start - 1].strip() == "" or lines[start - 1].lstrip().startswith("#"):
            start -= 1
    margin = " " * first.col_offset
    return "\n".join(line.removeprefix(margin) for line in lines[start:]).strip("\n") + "\n"


# --- Markdown


def markdown(page: Page) -> str:
    """The page in Markdown."""
    facts = f"`{page.code}` · family {page.family} · {page.severity}"
    parts = [f"# {page.title}", facts]
    parts += [f"## {name}\n\n{words}" for name, words in page.parts.items()]
    parts += [
        "## The case",
        f"Sick:\n\n```python\n{page.sick}```",
        f"Cured:\n\n```diff\n{page.diff}\n```",
        f"Try it: `torchdx case {page.name} --run`.",
    ]
    return "\n\n".join(parts) + "\n"


def file_name(page: Page) -> str:
    """The name of the page's file."""
    return f"{page.code}-{page.name}.md"


def index(pages: Sequence[Page]) -> str:
    """A list of all pages in Markdown, by family."""
    families = dict.fromkeys(page.family for page in pages)
    told = ["# Rules", "Generated from the rules' own docstrings and cases by `python -m torchdx.pages docs/rules`."]
    for family in families:
        rows = [
            f"| `{page.code}` | [{page.name}]({file_name(page)}) | {page.severity} | {_in_cell(page.title)} |"
            for page in pages
            if page.family == family
        ]
        told.append(
            f"## {family.capitalize()}\n\n| code | name | severity | fault |\n|---|---|---|---|\n" + "\n".join(rows)
        )
    return "\n\n".join(told) + "\n"


def _in_cell(words: str) -> str:
    return words.replace("|", r"\|")


def markdown_files(rules: Iterable[Rule]) -> dict[str, str]:
    """The text of every file of docs/rules, by name."""
    pages = [page(rule) for rule in rules]
    return {"index.md": index(pages), **{file_name(each): markdown(each) for each in pages}}


def markdown_by_code(rules: Iterable[Rule]) -> dict[str, str]:
    """Every rule's page in Markdown, by code, as help texts for `report.FORMATS`."""
    return {rule.code: markdown(page(rule)) for rule in rules}


# --- HTML


def fragment(page: Page) -> str:
    """The page as a piece of HTML, without a heading of its own, to be put under a finding."""
    from torchdx.report.html.cards import diff

    parts = "".join(f'<p class="part">{name}</p>{_blocks(words)}' for name, words in page.parts.items())
    return f"{_blocks(page.title)}{parts}{diff(page.diff, 'the case, cured')}"


def _blocks(words: str) -> str:
    """Paragraphs, lists, links and indented formulas as HTML."""
    from torchdx.report.html.svg import escape, prose

    told = []
    for block in re.split(r"\n[ \t]*\n", words):
        if block.startswith("    "):
            told.append(f"<pre><span>{escape(textwrap.dedent(block))}</span></pre>")
            continue
        linked = re.sub(
            r"https?://[^\s<>&;,)]+[^\s<>&;,).]", r'<a href="\g<0>" rel="noreferrer">\g<0></a>', prose(block)
        )
        told.append("<p>" + re.sub(r"\n(?=[-*] |\d+\. )", "<br>", linked) + "</p>")
    return "".join(told)


def fragments(rules: Iterable[Rule]) -> dict[str, str]:
    """Every rule's page as a piece of HTML, by code."""
    return {rule.code: fragment(page(rule)) for rule in rules}


# --- terminal


def plain(page: Page, width: int = 100) -> str:
    """The page as plain text."""
    return "".join(f"{words}\n" for words, _ in _lines(page, width))


def coloured(page: Page, width: int = 100) -> Text:
    """The page as a rich Text."""
    from rich.text import Text

    from torchdx.report.lines import STYLES

    told = Text()
    for words, style in _lines(page, width):
        told.append(words + "\n", STYLES.get(style, ""))
    return told


def _lines(page: Page, width: int) -> Iterable[tuple[str, str]]:
    """The page line by line, each with the name of its style."""
    yield f"{page.code} {page.name}", "strong"
    yield from ((line, page.severity) for line in textwrap.wrap(page.title, width))
    yield f"family {page.family}, {page.severity}", "dim"
    for name, words in page.parts.items():
        yield "", ""
        yield name, "strong"
        for block in re.split(r"\n\s*\n", words):
            yield from ((line, "") for line in _set(block, width))
    yield "", ""
    yield "The case, cured", "strong"
    signs = {"+": "added", "-": "removed", "@": "gutter"}
    yield from ((f"  {line}".rstrip(), signs.get(line[:1], "dim")) for line in page.diff.splitlines()[2:])


def _set(block: str, width: int) -> Iterable[str]:
    """A paragraph wrapped; lists and indented lines, such as formulas, as they are."""
    rows = block.splitlines()
    if any(row.startswith((" ", "- ", "* ")) or re.match(r"\d+\. ", row) for row in rows[1:]) or rows[0].startswith(
        "- "
    ):
        return [f"  {row}".rstrip() for row in rows]
    return textwrap.wrap(" ".join(rows), width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def main(arguments: Sequence[str]) -> int:
    """Write the Markdown pages of all rules into a folder; pages of rules that are gone are removed."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("Say the folder to write to: python -m torchdx.pages docs/rules", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    files = markdown_files(all_rules())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("TDX*.md"):
            if stale.name not in files:
                stale.unlink()
        for name, words in files.items():
            folder.joinpath(name).write_text(words, encoding="utf-8")
    except OSError as problem:
        print(f"{problem.filename}: {problem.strerror}.", file=sys.stderr)
        return 1
    print(f"{len(files) - 1} pages and their index are in {folder}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
