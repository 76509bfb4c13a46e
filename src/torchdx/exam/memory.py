"""What earlier examinations found, kept on disk under the contents of the files that they read.

An entry's key is a hash of everything that the answer depends on: the files' paths and bytes, the working directory
that patches are relative to, this version's own code, Python's, and whether rules fail aloud. So an entry is never
wrong, only out of use.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torchdx
from torchdx.source import Program

MOST_BYTES = 64_000_000
"""More than this is not kept; what was not asked for the longest goes first."""


def usual_folder() -> Path | None:
    """Where answers are kept: `TORCHDX_CACHE`, else in the user's cache; None where it is empty or not to be found."""
    chosen = os.environ.get("TORCHDX_CACHE")
    if chosen is not None:
        return Path(chosen) if chosen else None
    usual = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    try:
        base = Path(os.environ.get(usual) or "~/.cache").expanduser()
    except RuntimeError:  # nobody's home is known
        return None
    return base / "torchdx" / "check" if base.is_absolute() else None


class Memory:
    """Answers by key, in a folder; a folder of None remembers nothing. What cannot be read or written is forgotten."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.kept = 0

    def key_of(self, program: Program) -> str:
        """The hash of everything that an examination of the program depends on."""
        found = hashlib.blake2b(self._surroundings, digest_size=20)
        for file in program.files:
            named = file.path in program.named
            found.update(f"\0{file.path}\0{len(file.on_disk)}\0{named}\0".encode("utf-8", "surrogateescape"))
            found.update(file.on_disk)
        return found.hexdigest()

    @cached_property
    def _surroundings(self) -> bytes:
        home = Path(torchdx.__file__).parent
        own = sorted(
            (path, entry.stat().st_size, entry.stat().st_mtime_ns)
            for folder, _, names in os.walk(home)
            for path in names
            if path.endswith(".py") and (entry := Path(folder, path))
        )
        fails_aloud = bool(os.environ.get("TORCHDX_DEBUG"))  # what a failing rule says is not told again then
        return repr((torchdx.__version__, own, sys.version_info[:3], str(Path.cwd()), fails_aloud)).encode()

    def recall(self, key: str) -> Any | None:
        """What was kept under the key, or None."""
        if self.folder is None:
            return None
        path = self.folder / key[:2] / key[2:]
        try:
            found = pickle.loads(path.read_bytes())
            os.utime(path)
            return found
        except Exception:  # a damaged pickle may raise any
            return None

    def keep(self, key: str, answer: Any) -> None:
        """Keep an answer; a full disk or a folder that may not be written to is no error."""
        if self.folder is None:
            return
        path = self.folder / key[:2] / key[2:]
        with suppress(OSError, pickle.PicklingError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
            written = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL))
                written.replace(path)
            except BaseException:
                written.unlink()
                raise
            self.kept += 1

    def tidy(self) -> None:
        """Throw away what was not asked for the longest, if something was added and there is too much."""
        if self.folder is not None and self.kept:
            with suppress(OSError):
                _shrink(path for path in self.folder.glob("*/*") if path.is_file())


def _shrink(paths: Iterable[Path]) -> None:
    left = MOST_BYTES
    for stat, path in sorted(((path.stat(), path) for path in paths), key=lambda each: -each[0].st_mtime):
        left -= stat.st_size
        if left < 0:
            path.unlink(missing_ok=True)
