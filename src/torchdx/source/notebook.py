"""A notebook as one file of Python: its cells of code, one after the other, each under a line of its own."""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from torchdx.finding import Cell, Edit, Site
from torchdx.notebook import NotANotebook, is_notebook, python_cells, with_code
from torchdx.source.file import SourceFile
from torchdx.source.magics import holds_no_python, parsed, without_magics
from torchdx.source.reading import HUGE, Problem

HEAD = "#\n"
"""The line above each cell. Where the cell is indented, which Jupyter allows, the tree has an open block there."""

BLOCK = "if True:\n"
INDENTED = re.compile(r"(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n))*[ \t]+[^\s#]")
MAGIC = re.compile(r"^[ \t]*[%!?]|=\s*[%!]|\?\s*;?\s*$", re.M)
LINE = re.compile(r"\r\n|\r|\n")
UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Part:
    """A cell as it stands in the notebook's code: from its first line, and from byte `start` up to `end`."""

    number: int
    code: str
    line: int
    start: int
    end: int


class Notebook(SourceFile):
    """A notebook as read. `bytes`, and every place in it, are those of its code, not of the file on disk."""

    def __init__(self, path: str, data: bytes) -> None:
        self._unreadable: Problem | None = None
        try:
            cells = python_cells(data)
        except NotANotebook as error:
            cells, self._unreadable = (), Problem(path, 0, f"cannot be read as a notebook: {error}")
        self.parts = tuple(_placed(cells))
        code = "".join(f"{HEAD}{part.code}\n" for part in self.parts).encode("utf-8", "replace")
        if len(code) > HUGE:
            code, self.parts = b"", ()
            self._unreadable = Problem(path, 0, f"holds more than {HUGE // 1_000_000} MB of code, so not read")
        super().__init__(path, code)
        self.on_disk = data
        self._lines = [part.line for part in self.parts]

    @cached_property
    def mentions_torch(self) -> bool:
        """Could anything in it have to do with PyTorch?"""
        return b"torch" in (self.on_disk if self._unreadable else self.bytes)

    @cached_property
    def encoding(self) -> str:
        return "utf-8"

    @cached_property
    def tree(self) -> ast.Module:
        """The tree of all cells; those that do not parse are left out and told of in `gaps`."""
        self.problem = self._unreadable
        texts = [_python(part.code) for part in self.parts]
        whole = _tree("".join(texts))
        if whole is None:
            texts = [self._readable(part, text) for part, text in zip(self.parts, texts, strict=True)]
            whole = _tree("".join(texts))
        if whole is None:
            self.problem = Problem(self.path, 0, "does not parse as a whole")
        return self._with_outputs(whole or ast.Module(body=[], type_ignores=[]))

    def _with_outputs(self, tree: ast.Module) -> ast.Module:
        """The tree as Jupyter runs it: what a cell ends in is not lost, but shown and kept under the name `_`."""
        last = {bisect_right(self._lines, statement.lineno): place for place, statement in enumerate(tree.body)}
        for place in last.values():
            shown = tree.body[place]
            if isinstance(shown, ast.Expr) and not isinstance(shown.value, ast.Constant):
                name = ast.copy_location(ast.Name("_", ast.Store()), shown)
                tree.body[place] = ast.copy_location(ast.Assign([name], shown.value), shown)
        return tree

    def _readable(self, part: Part, text: str) -> str:
        """The cell's text in the first form that parses by itself, or blank lines, with a gap to tell of."""
        shell = _python(part.code, shell=True)
        found = next((form for form in (text, f"{HEAD}{part.code}\n", shell) if _tree(form) is not None), None)
        if found is not None:
            return found
        try:
            parsed(text)
        except SyntaxError as error:
            row, words = max(1, (error.lineno or 1) - 1), error.msg
        except UNPARSABLE as error:
            row, words = 0, str(error) or type(error).__name__
        self.gaps += (Problem(self.path, row, f"does not parse: {words}", cell=part.number),)
        return _blank(text)

    def site(self, node: ast.AST) -> Site:
        """Where the node stands, in which cell, in lines and characters counted from 1."""
        site = super().site(node)
        place = bisect_right(self._lines, site.line) - 1
        return replace(site, cell=Cell(self.parts[place].number, self.parts[place].line)) if place >= 0 else site

    def changed(self, edits: Iterable[Edit]) -> bytes:
        """The file on disk after edits of its code that do not overlap; ValueError where one is of no single cell."""
        by_part: dict[Part, list[Edit]] = {}
        for edit in edits:
            part = next((part for part in self.parts if part.start <= edit.start and edit.end <= part.end), None)
            if part is None:
                raise ValueError("an edit goes beyond its cell")
            by_part.setdefault(part, []).append(edit)
        wanted = {part.number: self._edited(part, mine) for part, mine in by_part.items()}
        data = with_code(self.on_disk, wanted)
        if dict(python_cells(data)) != {part.number: part.code for part in self.parts} | wanted:
            raise ValueError("its JSON is not as it should be")
        return data

    def _edited(self, part: Part, edits: list[Edit]) -> str:
        code = self.bytes[part.start : part.end]
        for edit in sorted(edits, key=lambda edit: (edit.start, edit.end), reverse=True):
            code = code[: edit.start - part.start] + edit.text + code[edit.end - part.start :]
        return code.decode("utf-8").removesuffix("\n")


def source_file(path: str, data: bytes) -> SourceFile:
    """The file as read, be it a notebook or Python."""
    return Notebook(path, data) if is_notebook(path, data[:200]) else SourceFile(path, data)


def _placed(cells: Iterable[tuple[int, str]]) -> Iterator[Part]:
    line, start = 1, 0
    for number, code in cells:
        line, start = line + 1, start + len(HEAD)
        end = start + len(code.encode("utf-8", "replace")) + 1
        yield Part(number, code, line, start, end)
        line, start = line + len(LINE.findall(code + "\n")), end


def _python(code: str, *, shell: bool = False) -> str:
    """The cell, under its head, as Python may read it: every line and column in its place."""
    if holds_no_python(code):
        return _blank(f"{HEAD}{code}\n")
    plain = without_magics(code, shell=shell) if shell or MAGIC.search(code) else code
    return f"{BLOCK if INDENTED.match(code) else HEAD}{plain}\n"


def _blank(text: str) -> str:
    return "".join(LINE.findall(text))


def _tree(text: str) -> ast.Module | None:
    try:
        return parsed(text)
    except UNPARSABLE:
        return None
