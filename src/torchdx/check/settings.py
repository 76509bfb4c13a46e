"""What a project asks for in the table [tool.torchdx] of its pyproject.toml, and what the command line asks instead."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from torchdx.check.selection import BadSetting, all_codes_of, codes_of
from torchdx.finding import SEVERITIES, Finding, Severity, near

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OFF = "off"


@dataclass(frozen=True)
class Settings:
    """Which findings are told of a file, and how grave they are; patterns are relative to `home`."""

    home: str = ""
    select: frozenset[str] | None = None
    ignore: frozenset[str] = frozenset()
    per_file: tuple[tuple[str, frozenset[str]], ...] = ()
    exclude: tuple[str, ...] = ()
    severity: Mapping[str, Severity | Literal["off"]] = field(default_factory=dict)

    def excludes(self, path: str) -> bool:
        """Is the file not to be read at all?"""
        return any(self._is_meant(path, pattern) for pattern in self.exclude)

    def judged(self, finding: Finding) -> Finding | None:
        """The finding as grave as it is to be here; None where it is not to be told."""
        code, severity = finding.code, self.severity.get(finding.code)
        if (self.select is not None and code not in self.select) or code in self.ignore or severity == OFF:
            return None
        path = finding.site.path if finding.site else None
        if path and any(code in codes and self._is_meant(path, pattern) for pattern, codes in self.per_file):
            return None
        return replace(finding, severity=severity) if severity in SEVERITIES else finding

    def _is_meant(self, path: str, pattern: str) -> bool:
        try:
            inside = os.path.relpath(path, self.home or None)
        except ValueError:  # another drive
            return False
        return _matcher(pattern).fullmatch(inside.replace(os.sep, "/")) is not None


@cache
def _matcher(pattern: str) -> re.Pattern[str]:
    """A glob: `*` stays within a folder, `**` does not; one without a slash fits anywhere; a folder means all in it."""
    plain = pattern.replace(os.sep, "/").removeprefix("./").rstrip("/")
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", plain)
    body = "".join(signs.get(part, re.escape(part)) for part in parts)
    return re.compile(("" if "/" in plain else "(?:.*/)?") + body + "(?:/.*)?", re.DOTALL)


class Configuration:
    """The settings of every file: those of the nearest pyproject.toml above it that has any.

    `select` takes the place of what projects select and ignore; `ignore` is added to what they ignore.
    """

    def __init__(self, select: frozenset[str] | None = None, ignore: frozenset[str] = frozenset()) -> None:
        self.select = select
        self.ignore = ignore
        self._by_folder: dict[Path, Settings] = {}

    def of(self, path: str) -> Settings:
        """The settings that hold for a file; one without a place is taken to lie in the working directory."""
        return self._of_folder(Path(path).absolute().parent if path else Path.cwd())

    def judged(self, finding: Finding) -> Finding | None:
        """The finding as its file's settings have it; None where it is not to be told."""
        return self.of(finding.site.path if finding.site else "").judged(finding)

    def excludes(self, path: str | Path) -> bool:
        """Is the file not to be read at all?"""
        return self.of(str(path)).excludes(str(path))

    def _of_folder(self, folder: Path) -> Settings:
        if folder not in self._by_folder:
            table = _table(folder / "pyproject.toml")
            if table is not None:
                found = self._overruled(_settings(table, folder / "pyproject.toml"))
            elif folder.parent == folder:
                found = self._overruled(Settings())
            else:
                found = self._of_folder(folder.parent)
            self._by_folder[folder] = found
        return self._by_folder[folder]

    def _overruled(self, settings: Settings) -> Settings:
        if self.select is not None:
            kept = {code: level for code, level in settings.severity.items() if level != OFF or code not in self.select}
            settings = replace(settings, select=self.select, ignore=frozenset(), severity=kept)
        return replace(settings, ignore=settings.ignore | self.ignore)


def _table(file: Path) -> Mapping[str, Any] | None:
    """The table [tool.torchdx]; None where there is none, even if the file cannot be understood."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return None  # a folder, or a pipe that nobody may ever write to
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        if isinstance(error, NotADirectoryError):
            return None
        raise BadSetting(f"{near(str(file))} cannot be read: {error.strerror}.") from error
    if b"torchdx" not in data:
        return None
    try:
        tools = tomllib.loads(data.decode("utf-8")).get("tool", {})
    except UnicodeDecodeError as error:
        raise BadSetting(f"{near(str(file))} is not valid UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{near(str(file))} is not valid TOML: {error}.") from error
    except RecursionError as error:
        raise BadSetting(f"{near(str(file))} is nested too deeply to be read.") from error
    table = tools.get("torchdx") if isinstance(tools, dict) else None
    if table is not None and not isinstance(table, dict):
        raise BadSetting(f"{near(str(file))}: tool.torchdx is not a table.")
    return table


def _settings(table: Mapping[str, Any], file: Path) -> Settings:
    where = f"[tool.torchdx] in {near(str(file))}"
    given: dict[str, Any] = {}
    for key, value in table.items():
        read = READERS.get(key)
        if read is None:
            close = get_close_matches(key, READERS, n=1)
            raise BadSetting(f"{where} has the key {key!r}, which means nothing{_meant(close)}.")
        name, reader = read
        given[name] = reader(value, f"{key} of {where}")
    return Settings(home=str(file.parent), **given)


def _meant(close: list[str]) -> str:
    return f"; did you mean {close[0]!r}?"[:-1] if close else f"; it may have {', '.join(sorted(READERS))}"


def _words(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise BadSetting(f"{where} must be a list of strings.")
    return tuple(value)


def _codes(value: Any, where: str) -> frozenset[str]:
    return all_codes_of(_words(value, where), where)


def _entries(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadSetting(f"{where} must be a table.")
    return value


def _per_file(value: Any, where: str) -> tuple[tuple[str, frozenset[str]], ...]:
    return tuple((pattern, _codes(words, where)) for pattern, words in _entries(value, where).items())


def _severity(value: Any, where: str) -> dict[str, Severity | Literal["off"]]:
    """Severity by code; what names fewer rules counts for more."""
    levels = (*SEVERITIES, OFF)
    asked = []
    for word, level in _entries(value, where).items():
        if level not in levels:
            raise BadSetting(f"{where} gives {word!r} the severity {level!r}; it may be {', '.join(levels)}.")
        asked.append((codes_of(word, where), cast(Severity, level)))
    return {code: level for codes, level in sorted(asked, key=lambda pair: -len(pair[0])) for code in codes}


READERS: Mapping[str, tuple[str, Callable[[Any, str], Any]]] = {
    "select": ("select", _codes),
    "ignore": ("ignore", _codes),
    "per-file-ignores": ("per_file", _per_file),
    "exclude": ("exclude", _words),
    "severity": ("severity", _severity),
}
"""What the table may hold: for each key, the attribute of `Settings` and how it is read."""
