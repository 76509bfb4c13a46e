"""Lines for a terminal: pieces of words in a style, broken and cut to a width, printed as the stream can show them."""

from __future__ import annotations

import os
import shutil
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

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
PLAINER = str.maketrans({"│": "|", "→": ">", "·": "-", "…": "~", "✓": "+", "✗": "x", "×": "x", "±": "+-"})
WIDEST = 110


def plain(lines: Iterable[Line]) -> str:
    """The lines as plain text."""
    return "".join("".join(words for words, _ in line).rstrip() + "\n" for line in lines)


def in_colour(lines: Iterable[Line]) -> Text:
    """The lines as a rich Text."""
    from rich.text import Text

    told = Text()
    for line in lines:
        row = Text()
        for words, style in line:
            row.append(words, STYLES.get(style, ""))
        row.rstrip()
        told.append_text(row).append("\n")
    return told


def put(lines: Callable[[int], Iterable[Line]], stream: TextIO) -> None:
    """Print the lines for a width: in colour on a terminal where NO_COLOR is not set, plain otherwise."""
    terminal = stream.isatty()
    width = min(shutil.get_terminal_size().columns, WIDEST) if terminal else 100
    if terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        Console(file=stream, width=width, highlight=False).print(in_colour(lines(width)), end="", soft_wrap=True)
    else:
        stream.write(speakable(plain(lines(width)), stream.encoding))
    stream.flush()


def speakable(words: str, encoding: str | None) -> str:
    """The words with what the encoding cannot say put plainer."""
    try:
        words.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return words.translate(PLAINER).encode(encoding or "utf-8", "replace").decode(encoding or "utf-8")
    return words


def columns(words: str) -> int:
    """How many columns of a terminal the words take."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in words
    )


def entry(name: str, words: str, width: int, style: str) -> Iterator[Line]:
    """A name, and beside it the words on as many lines as they take."""
    for k, line in enumerate(broken(words, width - 12)):
        yield [(f"  {'' if k else name:<10}", "dim"), (line, style)]


def wrapped(words: str, width: int, *, indent: str = "", style: str = "", hang: str | None = None) -> Iterator[Line]:
    """The words on as many lines as they take; those after the first begin with `hang`, if it is given."""
    for k, line in enumerate(broken(words, width - len(hang or indent))):
        yield [((hang if k and hang else indent) + line, style)]


def broken(words: str, width: int) -> Iterator[str]:
    """The words in lines of at most this width, or of 20; a no-break space is a space once lines are broken."""
    breaker = textwrap.TextWrapper(width=max(20, width), break_on_hyphens=False)
    for paragraph in words.splitlines():
        for line in breaker.wrap(paragraph):
            yield line.replace("\u00a0", " ")


def cut(words: str, width: int) -> str:
    """The words cut off at the width, with an ellipsis."""
    return words if len(words) <= width else f"{words[: max(0, width - 1)]}…"


def shortened(line: Line, width: int) -> Line:
    """The line cut off at the width, with an ellipsis."""
    kept: Line = []
    room = width
    for words, style in line:
        if len(words) > room:
            return [*kept, (cut(words, room), style)]
        kept.append((words, style))
        room -= len(words)
    return kept
