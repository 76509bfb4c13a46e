"""Reading files that may be anything: found, decoded, and never the cause of an exception."""

from __future__ import annotations

import codecs
import os
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from torchdx.finding import near

HUGE = 2_000_000


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


SKIPPED_FOLDERS = words("build dist node_modules site-packages venv env virtualenv __pycache__ torchdx-runs")
COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


@dataclass(frozen=True, order=True)
class Problem:
    """Something that kept a file, or a part of it, from being read; the line is 0 where no line is to blame."""

    path: str
    line: int
    words: str

    def __str__(self) -> str:
        return f"{near(self.path)}:{self.line}: {self.words}" if self.line else f"{near(self.path)}: {self.words}"


def python_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Every Python file named or lying under the folders named; hidden, built and installed ones are left out."""
    for path in map(Path, paths):
        if path.is_dir():
            yield from _under(path)
        else:
            yield path


def _under(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_foreign(here, name))
        yield from (Path(here, name) for name in sorted(names) if name.endswith(".py") and name[0] != ".")


def _is_foreign(here: str, name: str) -> bool:
    return (
        name.startswith(".")
        or name in SKIPPED_FOLDERS
        or name.endswith(".egg-info")
        or Path(here, name, "pyvenv.cfg").exists()
    )


def read_bytes(path: Path, name: str) -> bytes | Problem:
    """The file's bytes, or the problem that keeps them from being read."""
    try:
        if not path.is_file():
            return Problem(name, 0, "there is no such file")
        if path.stat().st_size > HUGE:
            return Problem(name, 0, f"larger than {HUGE // 1_000_000} MB, so not read")
        return path.read_bytes()
    except OSError as error:
        return Problem(name, 0, f"cannot be read: {error.strerror or error}")


def encoding_of(data: bytes) -> str:
    """The encoding that the bytes declare (byte order mark or coding comment), or that they can be read by."""
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    for line in data.split(b"\n", 2)[:2]:
        declared = COOKIE.match(line)
        if declared:
            try:
                found = codecs.lookup(declared.group(1).decode("ascii", "replace")).name
                data.decode(found)
                return found
            except (LookupError, UnicodeError, TypeError, AttributeError):
                break
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        return "latin-1"


def decoding_problem(path: str, data: bytes) -> Problem | None:
    """Why Python itself would refuse to read the bytes as text; None where it would not."""
    encoding = "utf-8"
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
        data.decode(encoding)
    except SyntaxError as error:
        return Problem(path, 0, f"cannot be decoded: {error.msg}")
    except UnicodeDecodeError as error:
        return Problem(path, data.count(b"\n", 0, error.start) + 1, f"cannot be decoded: it is not valid {encoding}")
    except LookupError:
        return Problem(path, 0, f"cannot be decoded: {encoding} is no encoding of text")
    return None
