"""Reading files that may be anything: found, decoded, and never the cause of an exception."""

from __future__ import annotations

import codecs
import os
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from torchdx.finding import near

HUGE, HUGE_NOTEBOOK = 2_000_000, 200_000_000
"""So many bytes are no program any more; a notebook holds pictures, too, and only its code is held to the former."""


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


SKIPPED_FOLDERS = words("build dist node_modules site-packages venv env virtualenv __pycache__ torchdx-runs")
COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


@dataclass(frozen=True, order=True)
class Problem:
    """Something that kept a file, or a part of it, from being read; the line is 0 where no line is to blame.

    In a notebook, the line is that of the cell.
    """

    path: str
    cell: int = field(default=0, kw_only=True)
    line: int
    words: str

    def __str__(self) -> str:
        place = near(self.path) + (f"#cell {self.cell}" if self.cell else "")
        return f"{place}:{self.line}: {self.words}" if self.line else f"{place}: {self.words}"


def python_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Every file named, and the Python and notebooks under folders named; hidden, built and installed ones left out.

    A folder under them that cannot be looked into is given itself, to be told of.
    """
    for path in map(Path, paths):
        if path.is_dir():
            yield from _under(path)
        else:
            yield path


def _under(folder: Path) -> Iterator[Path]:
    closed: list[OSError] = []
    for here, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not _is_foreign(here, name))
        yield from (Path(here, name) for name in sorted(names) if name.endswith((".py", ".ipynb")) and name[0] != ".")
    yield from (Path(error.filename) for error in closed if not isinstance(error, FileNotFoundError))


def _is_foreign(here: str, name: str) -> bool:
    return (
        name.startswith(".")
        or name in SKIPPED_FOLDERS
        or name.endswith(".egg-info")
        or os.path.exists(os.path.join(here, name, "pyvenv.cfg"))  # noqa: PTH110, PTH118 - no error where it is closed
    )


def read_bytes(path: Path, name: str) -> bytes | Problem:
    """The file's bytes, or the problem that keeps them from being read."""
    try:
        if not path.is_file():
            known = "the folder cannot be read" if path.is_dir() else "no ordinary file, so not read"
            return Problem(name, 0, known if path.exists() else "there is no such file")
        limit = HUGE_NOTEBOOK if path.suffix == ".ipynb" else HUGE
        if path.stat().st_size > limit:
            return Problem(name, 0, f"larger than {limit // 1_000_000} MB, so not read")
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
                data.decode(found, "replace")  # which a few refuse
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
    except UnicodeError:  # of codecs that do not say where
        return Problem(path, 0, f"cannot be decoded: it is not valid {encoding}")
    except LookupError:
        return Problem(path, 0, f"cannot be decoded: {encoding} is no encoding of text")
    return None
