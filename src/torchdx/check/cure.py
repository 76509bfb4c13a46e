"""The edits that rules offer, put into the files: one at a place, then looked at again, until nothing is left to do."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torchdx.check.selection import BadSetting
from torchdx.finding import Diagnosis, Edit, Finding, Fix, near
from torchdx.source import Program, edits
from torchdx.source.notebook import source_file

NUMBER = re.compile(r"\d+")
ROUNDS = 10
"""Looks at a program in which something was changed; nested faults take one each."""

Examine = Callable[[Program], Diagnosis]
"""Gives the findings of a program that are told."""


@dataclass(frozen=True)
class Cured:
    """A program as it would be: what was changed in which file, and the diagnosis of what is left."""

    program: Program
    diagnosis: Diagnosis
    done: tuple[tuple[Finding, Fix], ...]
    changed: Mapping[str, tuple[bytes, bytes]]

    def patch(self) -> str:
        """All changes as one unified diff."""
        files = (source_file(path, before) for path, (before, _) in self.changed.items())
        return "".join(edits.unified_diff(file, self.changed[file.path][1]) for file in files)


def cured(program: Program, diagnosis: Diagnosis, examine: Examine, *, unsafe: bool) -> Cured:
    """Apply the first fix of every finding that has one, or the first safe one, as long as it helps."""
    start = program
    done: list[tuple[Finding, Fix]] = []
    hopeless: set[tuple[str, ...]] = set()
    for _ in range(ROUNDS):
        chosen = _chosen(program, diagnosis, unsafe, hopeless)
        if not chosen:
            break
        after = changed(program, _applied(program, [fix for _, fix in chosen]))
        told = examine(after)
        failed = _unhelped(chosen, diagnosis, told)
        hopeless |= failed
        if not failed:  # else the others are tried without those that did not help
            program, diagnosis, done = after, told, done + chosen
    before = {file.path: file.on_disk for file in start.files}
    now = {file.path: file.on_disk for file in program.files}
    differ = {path: (before[path], now[path]) for path in before if before[path] != now[path]}
    return Cured(program, diagnosis, tuple(done), differ)


def changed(program: Program, contents: Mapping[str, bytes]) -> Program:
    """The program with other contents of some files."""
    new = {path: source_file(path, data) for path, data in contents.items()}
    return Program([new.get(file.path, file) for file in program.files], program.unread, program.named)


def fix_of(finding: Finding, *, unsafe: bool) -> Fix | None:
    """The first of its fixes that can be applied, or that is safe, too."""
    return next((fix for fix in finding.fixes if fix.edits and (unsafe or fix.safe)), None)


def _chosen(
    program: Program, diagnosis: Diagnosis, unsafe: bool, hopeless: set[tuple[str, ...]]
) -> list[tuple[Finding, Fix]]:
    """Fixes that are out of each other's way, and that leave files that parse."""
    chosen: list[tuple[Finding, Fix]] = []
    taken: list[Edit] = []
    for finding in diagnosis.all_findings():
        fix = fix_of(finding, unsafe=unsafe)
        if fix is None or _key(finding, fix) in hopeless or any(_meet(a, b) for a in fix.edits for b in taken):
            continue
        try:
            _applied(program, [*(other for _, other in chosen if _paths(other) & _paths(fix)), fix])
        except edits.Refused:
            continue
        chosen.append((finding, fix))
        taken += fix.edits
    return chosen


def _paths(fix: Fix) -> set[str]:
    return {edit.path for edit in fix.edits}


def _meet(one: Edit, other: Edit) -> bool:
    """Do two edits touch, so that one of them has to wait?"""
    return one.path == other.path and one.start <= other.end and other.start <= one.end


def _applied(program: Program, fixes: Iterable[Fix]) -> dict[str, bytes]:
    """The contents of the files that the fixes change."""
    by_path: dict[str, list[Edit]] = {}
    for fix in fixes:
        for edit in fix.edits:
            by_path.setdefault(edit.path, []).append(edit)
    contents = {}
    for path, wanted in by_path.items():
        file = next((file for file in program.files if file.path == path), None)
        if file is None:
            raise edits.Refused(f"{path} is not a file of the program")
        contents[path] = edits.applied(file, wanted)
    return contents


def _key(finding: Finding, fix: Fix) -> tuple[str, ...]:
    """What stays the same of a finding and its fix when lines come and go."""
    return finding.code, finding.site.path if finding.site else "", NUMBER.sub("", finding.message), fix.title


def _unhelped(chosen: Sequence[tuple[Finding, Fix]], before: Diagnosis, after: Diagnosis) -> set[tuple[str, ...]]:
    """The keys of the fixes that did not make their findings fewer."""
    had, has, tried = (Counter(_keys(pairs)) for pairs in (_pairs(before), _pairs(after), chosen))
    return {key for key, count in tried.items() if has[key] > had[key] - count}


def _keys(pairs: Iterable[tuple[Finding, Fix]]) -> Iterator[tuple[str, ...]]:
    return (_key(finding, fix) for finding, fix in pairs)


def _pairs(diagnosis: Diagnosis) -> Iterator[tuple[Finding, Fix]]:
    return ((finding, fix) for finding in diagnosis.all_findings() for fix in finding.fixes)


# On disk


def write(contents: Mapping[str, tuple[bytes, bytes]]) -> None:
    """Put the files' new contents in the place of those that were read; nothing at all if one cannot be written."""
    for path, (before, _) in contents.items():
        _check(Path(path), before)
    for path, (before, after) in contents.items():
        _check(Path(path), before)
        try:
            _replace(Path(path), after)
        except OSError as error:
            raise BadSetting(f"{near(path)} cannot be written: {error.strerror or error}.") from error


def _check(path: Path, before: bytes) -> None:
    """Refuse to write what is not the file that was read, or may not be written to."""
    name = near(str(path))
    try:
        if path.is_symlink():
            raise BadSetting(f"{name} is a link to {path.readlink()}, so it is not written; check that file itself.")
        if not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path, os.W_OK):
            raise BadSetting(f"{name} is read-only, so it is not written.")
        now = path.read_bytes()
    except OSError as error:
        raise BadSetting(f"{name} cannot be written: {error.strerror or error}.") from error
    if now != before:
        raise BadSetting(f"{name} has changed since it was read, so it is not written; check again.")


def _replace(path: Path, data: bytes) -> None:
    """Write a file beside and move it into place, so that a reader finds the old contents or the new."""
    mode = path.stat().st_mode
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(stat.S_IMODE(mode))
        with suppress(OSError, AttributeError):
            owner = path.stat()
            os.chown(name, owner.st_uid, owner.st_gid)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
