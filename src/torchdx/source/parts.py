"""The separate programs in a folder: files that no import links know nothing of each other.

Imports are found by a generous look at the text, as parsing every file only to see whom it knows would cost as much as
checking it. A link too many does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torchdx.source.file import SourceFile
from torchdx.source.names import LIBRARIES, Names

BEFORE = re.compile(rb"(?:^|[;:])[ \t]*(?:from[ \t]+([.\w]+)[ \t]*)?$")
AFTER = re.compile(rb"import\b[ \t]*(\([^)]*\)|(?:[^\n;#\\(]|\\\r?\n)*)")
WORD = re.compile(rb"[.\w]+(?:[ \t]+as[ \t]+\w+)?")


def linked(files: tuple[SourceFile, ...], names: Names) -> list[tuple[SourceFile, ...]]:
    """The files in groups, each closed under imports; groups and the files in them keep their order."""
    leader = {file: file for file in files}

    def lead(file: SourceFile) -> SourceFile:
        while leader[file] is not file:
            leader[file] = file = leader[leader[file]]
        return file

    for file in files:
        for dotted in imported_names(file.bytes):
            other = names.module(file, dotted)
            if other is not None:
                leader[lead(other)] = lead(file)
    groups: dict[SourceFile, list[SourceFile]] = {}
    for file in files:
        groups.setdefault(lead(file), []).append(file)
    return [tuple(group) for group in groups.values()]


def imported_names(data: bytes) -> Iterator[str]:
    """Every dotted name that could be a module that the text imports, those of well-known libraries left out."""
    place = data.find(b"import")
    while place >= 0:
        before = BEFORE.search(data[data.rfind(b"\n", 0, place) + 1 : place])
        after = AFTER.match(data, place) if before is not None else None
        if before is not None and after is not None:
            words = [word.split()[0].decode("utf-8", "replace") for word in WORD.findall(after.group(1))]
            if before.group(1) is None:
                yield from (name for word in words for name in _prefixes(word))
            else:
                yield from _members(before.group(1).decode("utf-8", "replace"), words)
        place = data.find(b"import", place + 6)


def _members(base: str, words: list[str]) -> Iterator[str]:
    if base.partition(".")[0] not in LIBRARIES:
        yield from _prefixes(base)
        joint = "" if base.endswith(".") else "."
        yield from (base + joint + word for word in words)


def _prefixes(dotted: str) -> Iterator[str]:
    """`.a`, `.a.b` and `.a.b.c` for `.a.b.c`: importing a module runs the packages around it."""
    level = len(dotted) - len(dotted.lstrip("."))
    words = dotted[level:].split(".") if dotted[level:] else []
    if words and not level and words[0] in LIBRARIES:
        return
    if level:
        yield dotted[:level]
    for count in range(1, len(words) + 1):
        yield dotted[:level] + ".".join(words[:count])
