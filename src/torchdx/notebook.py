"""A Jupyter notebook as a file: the code in its cells, where that stands, and the same file with other code in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]')
STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
CELL_IN = (["", "cells", ""], ["", "worksheets", "", "cells", ""])
"""The keys that lead to a cell, in format 4 and before; things in lists have none."""

START = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"(?:cells|metadata|nbformat|nbformat_minor|worksheets)"')
PYTHON = ("python", "ipython", "sage")


class CodeCell(NamedTuple):
    """A cell of code; cells are numbered from 1, those that hold text counted too."""

    number: int
    code: str


class NotANotebook(ValueError):
    """The file is not what its name promises."""


def is_notebook(path: str, start: bytes) -> bool:
    """Is the file a notebook? By its name or, where that does not tell, by how it starts."""
    if path.endswith((".ipynb", ".py", ".pyw")):
        return path.endswith(".ipynb")
    return START.match(start) is not None


def python_cells(data: bytes) -> tuple[CodeCell, ...]:
    """The cells of Python code, in order; none where the notebook is in another language."""
    try:
        whole = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NotANotebook("it is not valid utf-8") from error
    except (ValueError, RecursionError) as error:
        raise NotANotebook("it is not valid JSON") from error
    if not isinstance(whole, dict) or not isinstance(whole.get("cells", whole.get("worksheets")), list):
        raise NotANotebook("it has no cells")
    if not _is_python(whole.get("metadata")):
        return ()
    cells = enumerate(_all_cells(whole), 1)
    return tuple(CodeCell(number, _code(cell)) for number, cell in cells if _holds_python(cell))


def _all_cells(whole: Mapping[str, Any]) -> Iterator[Any]:
    """Every cell; before format 4 they lay on worksheets."""
    for sheet in [whole] if "cells" in whole else whole["worksheets"]:
        cells = sheet.get("cells") if isinstance(sheet, dict) else None
        yield from cells if isinstance(cells, list) else ()


def _is_python(metadata: Any) -> bool:
    """Is that the language of a notebook with these metadata, as far as they tell?"""
    language = _inside(metadata, "language_info").get("name") or _inside(metadata, "kernelspec").get("language")
    return str(language or "python").lower().startswith(PYTHON)


def _holds_python(cell: Any) -> bool:
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return False
    language = _inside(cell.get("metadata"), "vscode").get("languageId") or cell.get("language")
    return str(language or "python").lower().startswith(PYTHON)


def _inside(data: Any, name: str) -> Mapping[str, Any]:
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _code(cell: Mapping[str, Any]) -> str:
    """The cell's code, which is kept whole or as a list of lines."""
    source = cell.get("source", cell.get("input"))
    return "".join(map(str, source)) if isinstance(source, list) else str(source or "")


# Where the code stands in the file


def line_in_file(data: bytes, number: int, row: int) -> int:
    """The line of the file that holds a line of a cell; all count from 1."""
    text = data.decode("utf-8-sig", "replace")
    start, end = _places(text).get(number, (0, 0))
    above = 0
    for item in STRING.finditer(text, start, end):
        code = _decoded(item[0])
        start = item.start()
        if code and row <= above + code.count("\n") + (not code.endswith("\n")):
            break
        above += code.count("\n")
    return text.count("\n", 0, start) + 1


def with_code(data: bytes, changed: Mapping[int, str]) -> bytes:
    """The file with other code in the cells of these numbers, and all else as it was, byte for byte."""
    text = data.decode("utf-8")
    places = _places(text)
    for number in sorted(changed, reverse=True):
        start, end = places[number]
        text = text[:start] + _written(text[start:end], changed[number], ascii_only=text.isascii()) + text[end:]
    return text.encode("utf-8")


def _written(old: str, code: str, *, ascii_only: bool) -> str:
    """The code as JSON, in the manner of what it replaces: whole, or as a list in which the same lines stay."""
    items = list(STRING.finditer(old))
    if old[0] != "[" or not items:
        return json.dumps(code, ensure_ascii=ascii_only)
    known = {_decoded(item[0]): item[0] for item in items}
    lines = [line for line in re.split(r"(?<=\n)", code) if line]
    if not lines:
        return "[]"
    opening, closing = old[: items[0].start()], old[items[-1].end() :]
    joint = old[items[0].end() : items[1].start()] if len(items) > 1 else "," + opening[1:]
    written = [known.get(line) or json.dumps(line, ensure_ascii=ascii_only) for line in lines]
    return opening + joint.join(written) + closing


def _decoded(string: str) -> str:
    return str(json.loads(string, strict=False))


def _places(text: str) -> dict[int, tuple[int, int]]:
    """From where to where the JSON of each cell's code goes, by the cell's number."""
    found: dict[int, tuple[int, int]] = {}
    opened: list[tuple[str, int]] = []
    number, key, last = 0, "", ""
    for token in TOKEN.finditer(text):
        word, start = token[0], token.start()
        if word in "[{":
            opened.append((key, start))
            key = ""
            number += word == "{" and [name for name, _ in opened] in CELL_IN
        elif word == ":":
            key = last
        elif word == ",":
            key = ""
        else:
            last = word[1:-1]
            if word in "]}":
                key, start = opened.pop()
            if key in ("source", "input") and [name for name, _ in opened] in CELL_IN:
                found[number] = (start, token.end())
    return found
