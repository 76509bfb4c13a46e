"""Places in a file as an editor counts them: lines from 0, and columns in UTF-16 units unless agreed otherwise."""

from __future__ import annotations

import codecs
from bisect import bisect_right
from functools import cached_property

from lsprotocol import types

from torchdx.finding import Edit, Site
from torchdx.source import SourceFile
from torchdx.source.file import LINE_END
from torchdx.source.reading import encoding_of

UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
"""How a column is counted: by the bytes in this encoding, divided by this."""
UTF_16 = str(types.PositionEncodingKind.Utf16.value)


def as_bytes(text: str) -> bytes:
    """An editor's text as it would be on disk: in the encoding that its coding comment names."""
    data = text.encode("utf-8", "surrogatepass")
    try:
        return text.encode(encoding_of(data).replace("-sig", ""))
    except UnicodeError:
        return data


class Places:
    """Where the bytes and the sites of one file are for an editor, whose document begins with a line of it."""

    def __init__(self, file: SourceFile, units: str = UTF_16, first: int = 1) -> None:
        self._first = first
        self._data = file.bytes
        self._encoding = file.encoding.replace("-sig", "")
        self._units = UNITS.get(units, UNITS[UTF_16])

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(found.end() for found in LINE_END.finditer(self._data))]

    def _width(self, text: str) -> int:
        encoding, size = self._units
        return len(text.encode(encoding, "surrogatepass")) // size

    def _line(self, number: int) -> str:
        """A line, counted from 1, without its end; empty beyond the last."""
        if not 1 <= number <= len(self._starts):
            return ""
        end = self._starts[number] if number < len(self._starts) else len(self._data)
        return self._data[self._starts[number - 1] : end].decode(self._encoding, "replace").rstrip("\r\n")

    def line_of(self, offset: int) -> int:
        """The line, counted from 1, of a byte."""
        return bisect_right(self._starts, offset)

    def at(self, offset: int) -> types.Position:
        """The place of a byte."""
        line = self.line_of(offset)
        before = self._data[self._starts[line - 1] : offset].decode(self._encoding, "replace")
        return types.Position(line - self._first, self._width(before))

    def of_edit(self, edit: Edit) -> types.TextEdit:
        """An edit of bytes as an edit of text."""
        area = types.Range(self.at(edit.start), self.at(edit.end))
        return types.TextEdit(area, edit.text.decode(self._encoding, "replace"))

    def of(self, site: Site) -> types.Range:
        """The range to underline: the site, or the first line of one that spans several."""
        line = self._line(site.line)
        mark = 1 if site.line == 1 and self._data.startswith(codecs.BOM_UTF8) else 0  # sites do not count it
        start = site.column - 1 + mark
        end = len(line.rstrip())
        if site.end_column is not None and site.end_line in (None, site.line):
            end = site.end_column - 1 + mark
        begun = self._width(line[:start])
        ended = max(begun, self._width(line[:end]))
        row = max(0, site.line - self._first)
        return types.Range(types.Position(row, begun), types.Position(row, ended))


def overlap(one: types.Range, other: types.Range) -> bool:
    """Do the ranges share a place? An empty one is a place, too."""
    first, second = sorted((_bounds(one), _bounds(other)))
    return second[0] <= first[1]


def _bounds(area: types.Range) -> tuple[tuple[int, int], tuple[int, int]]:
    return (area.start.line, area.start.character), (area.end.line, area.end.character)
