"""Append facts to this process's own file, one line a fact, each written at once.

A killed process therefore leaves everything it had seen. The file appears with the first fact, and a forked child
starts a file of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

VERSION = 1
"""Version of the format, `torchdx.record.facts.VERSION`; reading is not imported here, as the patient waits for it."""

FULL = 64 << 20
"""Bytes after which a process writes no more: a record must not fill a disk."""


class Writer:
    """The open file of facts of one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: int | None = None
        self._written = 0

    def write(self, kind: str, **fact: Any) -> None:
        """Append one fact; nothing happens if the disk is full or the folder is gone."""
        line = json.dumps({"kind": kind, **fact}, default=str, separators=(",", ":")).encode() + b"\n"
        try:
            if self._file is None:
                self._open()
            assert self._file is not None
            if self._written < FULL:
                self._written += os.write(self._file, line)
        except OSError:
            self._written = FULL

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"facts-{time.time_ns():x}-{os.getpid()}.jsonl"
        self._file = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.write(
            "process",
            version=VERSION,
            pid=os.getpid(),
            ppid=os.getppid(),
            rank=_number(os.environ.get("RANK")),
            world=_number(os.environ.get("WORLD_SIZE")),
            argv=sys.orig_argv[1:],
            cwd=_here(),
            main=getattr(sys.modules.get("__main__"), "__file__", None),
            python=sys.version.split()[0],
            started=time.time(),
        )

    def forget(self) -> None:
        """After a fork: leave the parent's file to the parent."""
        self._file = None
        self._written = 0


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _here() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return ""
