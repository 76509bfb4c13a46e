"""Programs run watched in forks of processes that have imported torch already: importing is most of what each costs."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ZYGOTE = ROOT / "tests" / "zygote.py"
PROBES = ("src/torchdx/watch", "src/torchdx/_inject")

PATIENCE = 180.0
"""Seconds after which a program is taken to hang."""


@dataclass(frozen=True)
class Ran:
    """How a program ended, what it printed last, and where its record lies."""

    status: int | None
    printed: str
    record: Path
    seconds: float


class Zygote:
    """One process that forks a watched child for each program; everything printed ends up in one file."""

    def __init__(self, deep: bool = False) -> None:
        self.deep = {"TORCHDX_DEEP": "1"} if deep else {}
        self.folder = tempfile.TemporaryDirectory()
        self.log = Path(self.folder.name) / "printed"
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        with self.log.open("a") as printed:
            return subprocess.Popen(
                [sys.executable, str(ZYGOTE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                text=True,
                cwd=self.folder.name,
                env={name: words for name, words in os.environ.items() if name != "PYTHONPATH"} | self.deep,
                start_new_session=True,
            )

    def run(self, script: Path, record: Path) -> Ran:
        """Run a program to its end, or until patience does."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before, began = self.log.stat().st_size, time.monotonic()
        asked = {"script": str(script), "arguments": [], "folder": str(record)}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answered, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        answer = self.process.stdout.readline().strip() if answered else ""
        if not answer:
            self.close()
            self.process = self._start()
        with self.log.open("rb") as log:
            log.seek(before)
            printed = log.read().decode(errors="replace")
        return Ran(int(answer) if answer else None, printed, record, time.monotonic() - began)

    def close(self) -> None:
        """End it, and the child that it may be waiting for: both are in a session of their own."""
        os.killpg(self.process.pid, 9)
        self.process.wait()


def run_all(
    scripts: Sequence[Path], records: Sequence[Path], at_once: int, *, any_probes: bool, deep: bool
) -> Iterator[Ran]:
    """Run every program, or take what is kept of its last run if neither it nor the probes changed since."""
    probes = "" if any_probes else _digest(file for place in PROBES for file in sorted((ROOT / place).rglob("*.py")))
    idle: queue.SimpleQueue[Zygote] = queue.SimpleQueue()
    made: list[Zygote] = []

    def one(script: Path, record: Path) -> Ran:
        return _kept(script, record, probes, run)

    def run(script: Path, record: Path) -> Ran:
        if idle.empty():
            made.append(Zygote(deep))
            zygote = made[-1]
        else:
            zygote = idle.get()
        try:
            return zygote.run(script, record)
        finally:
            idle.put(zygote)

    try:
        with ThreadPoolExecutor(at_once) as pool:
            yield from pool.map(one, scripts, records)
    finally:
        for zygote in made:
            zygote.close()


def _kept(script: Path, record: Path, probes: str, run: Callable[[Path, Path], Ran]) -> Ran:
    """What is kept of a run of the same program, or a new run."""
    key, kept = [_digest([script]), probes], record / "ran.json"
    if kept.exists():
        told = json.loads(kept.read_text())
        if told["key"][0] == key[0] and (not probes or told["key"][1] == probes):
            return Ran(told["status"], told["printed"], record, told["seconds"])
    shutil.rmtree(record, ignore_errors=True)
    record.mkdir(parents=True)
    ran = run(script, record)
    told = {"key": key, "status": ran.status, "printed": ran.printed[-4000:], "seconds": ran.seconds}
    kept.write_text(json.dumps(told))
    return ran


def _digest(files: Iterable[Path]) -> str:
    """A name for what stands in these files."""
    whole = hashlib.sha256()
    for file in files:
        if file.is_file():
            whole.update(file.read_bytes())
    return whole.hexdigest()[:16]
