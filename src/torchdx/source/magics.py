"""What IPython understands and Python does not, neutralised so that Python reads the rest where it stands."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from torchdx.source.reading import words

LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
END = re.compile(r"[\r\n]*$")
COMMAND = re.compile(r"\s*(?:[%!]|\?{1,2}[\w%])")
HELP = re.compile(r"\s*%{0,2}[A-Za-z_*][\w.*\[\]]*\?{1,2}\s*;?\s*$")
ASSIGNED = re.compile(r"(\s*[A-Za-z_][\w.,\[\]\"' ]*=\s*)[%!](?!=)")
TIMED = re.compile(r"(\s*)(%(?:time|timeit|prun|memit|mprun)\s+(?:-\w+\s+(?:\d+\s+)?)*)(?=\S)")
SHELL = re.compile(r"\s*(?:pip3?|conda|mamba|cd|ls|mkdir|rm|cp|mv|cat|wget|git|unzip)\s+[-\w./~{$\"']")
PIECE = re.compile(
    r"#.*|(?P<quote>'''|\"\"\")|'(?:[^'\\\r\n]|\\.)*'|\"(?:[^\"\\\r\n]|\\.)*\"|(?P<open>[\[({])|(?P<close>[\])}])"
    r"|(?P<joined>\\[\r\n]*$)"
)
QUOTED = {quote: re.compile(rf"(?:[^\\]|\\.)*?{quote}", re.S) for quote in ("'''", '"""')}

PYTHON_MAGICS = words("capture debug heat ipytest memit mprun prun scalene snakeviz tab time timeit wandb")
"""Cell magics that run the cell as the Python that it is; all others keep it for themselves."""


def parsed(text: str) -> ast.Module:
    """The tree of a text; where Python itself cannot read it, that of what IPython leaves to Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except SyntaxError:
            plain = without_magics(text)
            if plain == text:
                raise
            return ast.parse(plain)


def holds_no_python(cell: str) -> bool:
    """Is the cell given to something else, such as a shell, by its first line?"""
    magic = re.match(r"\s*%%\s*(\w*)", cell)
    return magic is not None and magic[1] not in PYTHON_MAGICS


def without_magics(text: str, *, shell: bool = False) -> str:
    """The text with IPython's own lines neutralised and nothing else moved; `shell`: also commands without a mark."""
    return "".join(_lines(text, shell))


def _lines(text: str, shell: bool) -> Iterator[str]:
    depth, quote, joined, swallowed = 0, "", False, False
    for line in LINE.findall(text):
        end = END.search(line)[0]  # type: ignore[index]
        if swallowed:
            swallowed = line.rstrip().endswith("\\")
            yield end
            continue
        plain = None if depth or quote or joined else _neutral(line.removesuffix(end), shell)
        if plain is not None:
            swallowed = line.rstrip().endswith("\\")
            yield plain + end
            continue
        depth, quote, joined = _state_after(line, depth, quote)
        yield line


def _neutral(line: str, shell: bool) -> str | None:
    """What Python may read in place of a line that only IPython understands; None for all other lines."""
    timed = TIMED.match(line)
    if timed and _is_code(line[timed.end() :]):
        return timed[1] + "pass;".ljust(len(timed[2])) + line[timed.end() :]
    if COMMAND.match(line) or HELP.match(line) or (shell and SHELL.match(line)):
        return line[: len(line) - len(line.lstrip())] + "pass"
    assigned = ASSIGNED.match(line)
    return assigned[1] + "get_ipython()" if assigned else None


def _is_code(line: str) -> bool:
    try:
        ast.parse("pass; " + line)
    except (SyntaxError, ValueError):
        return False
    return True


def _state_after(line: str, depth: int, quote: str) -> tuple[int, str, bool]:
    """How many brackets are open after the line, which quote is, and whether the next line goes on with it."""
    place = 0
    while True:
        if quote:
            closed = QUOTED[quote].match(line, place)
            if closed is None:
                return depth, quote, False
            place, quote = closed.end(), ""
        piece = PIECE.search(line, place)
        if piece is None:
            return depth, "", False
        place = piece.end()
        quote = piece["quote"] or ""
        depth = depth + 1 if piece["open"] else max(0, depth - 1) if piece["close"] else depth
        if piece["joined"]:
            return depth, "", True
