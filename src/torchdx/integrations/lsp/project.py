"""The files around one that is being edited: what is unsaved as the editor has it, the others as they are on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from torchdx.check import BadSetting, Configuration, told
from torchdx.check.silence import quieted
from torchdx.exam import examine
from torchdx.finding import Diagnosis
from torchdx.source import Problem, Program, SourceFile, without_collection
from torchdx.source.file import imported_files
from torchdx.source.notebook import source_file
from torchdx.source.reading import python_files, read_bytes

MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
"""A folder that has one of these is the root of a project."""
MOST_FILES = 1_000
MOST_SECONDS = 2.0
"""A folder with more files, or that takes longer to walk, is not read whole: of it, only what a file imports is."""
REMEMBERED = 16


@dataclass(frozen=True)
class Examined:
    """A program with what is to be told of it, and what is wrong with the settings that decide that."""

    program: Program
    diagnosis: Diagnosis
    complaint: str = ""


class Disk:
    """Files read from disk, and read again only when they have changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int], SourceFile]] = {}

    def file(self, path: Path) -> SourceFile | None:
        """The file; None where it cannot be read."""
        name = str(path)
        try:
            stat = path.stat()
        except OSError:
            return None
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = self._known.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        data = read_bytes(path, name)
        if isinstance(data, Problem):
            return None
        file = source_file(name, data)
        self._known[name] = (stamp, file)
        return file


class Project:
    """The programs under a folder, or around single files where there is no folder that would hold them together."""

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self._disk = Disk()
        self._unsaved: dict[str, SourceFile] = {}
        self._listed: tuple[Path, ...] | None = None
        self._known: dict[tuple[SourceFile, ...], Diagnosis] = {}

    def look_again(self) -> None:
        """Files may have come or gone on disk."""
        self._listed = None

    def examined(self, path: str, unsaved: Mapping[str, bytes]) -> Examined | None:
        """The program of a file, as `torchdx check` of the folder sees it; None where settings leave the file out."""
        configuration = Configuration()
        with without_collection():
            files = {file.path: file for file in self._files(path, unsaved)}
            try:
                files = {name: file for name, file in files.items() if not configuration.excludes(name)}
                complaint = ""
            except BadSetting as error:
                complaint = str(error)
            named = [name for name in unsaved if name in files]
            parts = Program(files.values(), named=named).parts
            program = next((part for part in parts if any(file.path == path for file in part.files)), None)
            if program is None:
                return None
            found = self._found(program)
        if complaint:
            return Examined(program, quieted(found, program.files, audit=True), complaint)
        return Examined(program, told(found, program.files, configuration, audit=True))

    def _found(self, program: Program) -> Diagnosis:
        """What every rule says of the program; known where no file of it has changed."""
        found = self._known.pop(program.files, None) or examine(program, None)
        self._known[program.files] = found
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return found

    def _files(self, path: str, unsaved: Mapping[str, bytes]) -> Iterator[SourceFile]:
        """Every file that could belong to the program of the one at `path`."""
        listed = self._list()
        open_ones = {name: self._as_edited(name, data) for name, data in unsaved.items()}
        for name in self._unsaved.keys() - unsaved.keys():
            del self._unsaved[name]
        if listed:
            yield from self._read(map(str, listed), open_ones)
            yield from (file for name, file in open_ones.items() if self._holds(name) or name == path)
        else:
            yield from self._reached(path, open_ones)

    def _holds(self, name: str) -> bool:
        return self.root is not None and self.root in Path(name).parents

    def _as_edited(self, name: str, data: bytes) -> SourceFile:
        """The file as it is open; the one on disk where they are the same, so that opening a file changes nothing."""
        saved = self._disk.file(Path(name)) if Path(name).is_absolute() else None
        if saved is not None and saved.on_disk == data:
            return saved
        known = self._unsaved.get(name)
        if known is None or known.on_disk != data:
            known = self._unsaved[name] = source_file(name, data)
        return known

    def _read(self, names: Iterator[str], open_ones: Mapping[str, SourceFile]) -> Iterator[SourceFile]:
        for name in names:
            file = open_ones.get(name) or self._disk.file(Path(name))
            if file is not None:
                yield file

    def _reached(self, path: str, open_ones: Mapping[str, SourceFile]) -> Iterator[SourceFile]:
        """The file, and those that it imports, directly or not."""
        home = Path(path).parent
        homes = [place for place in (home, self.root) if place is not None] if Path(path).is_absolute() else []
        queue, seen = [path], {path}
        for name in queue:
            for file in self._read(iter([name]), open_ones):
                yield file
                found = [str(each) for each in imported_files(file, homes)] if homes else []
                queue += [each for each in dict.fromkeys(found) if each not in seen]
                seen.update(found)

    def _list(self) -> tuple[Path, ...]:
        """The project's files; none where there are too many."""
        if self._listed is None:
            self._listed = _files_under(self.root) if self.root is not None else ()
        return self._listed


def _files_under(root: Path) -> tuple[Path, ...]:
    found: list[Path] = []
    begun = time.monotonic()
    for path in python_files([root]):
        found.append(path)
        if len(found) > MOST_FILES or time.monotonic() - begun > MOST_SECONDS:
            return ()
    return tuple(found)


def root_of(path: str, folders: list[Path]) -> Path | None:
    """The folder that a file's program is looked for in: the editor's, or else the nearest that has a mark."""
    place = Path(path)
    if not place.is_absolute():
        return None
    around = [folder for folder in folders if folder in place.parents]
    marked = (folder for folder in place.parents if any((folder / mark).exists() for mark in MARKS))
    return next(chain(sorted(around, key=lambda folder: -len(folder.parts)), marked), None)
