"""Run a program watched, and examine what was recorded together with its source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from torchdx.exam import examine
from torchdx.finding import Diagnosis
from torchdx.launch import launch
from torchdx.record import Record
from torchdx.source import Program

os.environ.setdefault("OMP_NUM_THREADS", "1")


ALWAYS = 1000.0
"""A share of the run's own time that pays for a look at every step."""


def recorded(script: Path, folder: Path, *arguments: str) -> Record:
    """The record of the script, launched as `torchdx run` would; it must succeed."""
    ending = launch([str(script), *arguments], folder)
    assert ending.status == 0, f"{script} ended with {ending}"
    return Record.read(folder)


def quickly_recorded(
    script: Path, folder: Path, *arguments: str, deep: bool = False, audit: bool = False, always: bool = False
) -> Record:
    """The record of the script, run in a fork of a process that has imported torch already; it must succeed.

    It is looked at within the usual share of time, or `always`, where a test needs looks that a slow machine forgoes.
    With an `audit` its data are, too, after a few steps, as by `torchdx data`.
    """
    asked: dict[str, Any] = {"overhead": ALWAYS} if always else {}
    if audit:
        asked = {"overhead": 1.0, "max_steps": 20, "audit": True}
    _live(script=str(script), arguments=arguments, folder=str(folder), deep=deep, **asked)
    return Record.read(folder)


def left_by(script: Path, record: Path | None, digest: Path, deep: bool = False) -> str:
    """The digest of all that the script leaves behind, bare or, where a record is asked for, looked at all the time."""
    folder = str(record) if record else None
    _live(script=str(script), arguments=(), folder=folder, overhead=ALWAYS, digest=str(digest), deep=deep)
    return digest.read_text(encoding="utf-8")


def _live(**asked: Any) -> None:
    zygote = _zygote()
    assert zygote.stdin is not None
    assert zygote.stdout is not None
    zygote.stdin.write(json.dumps(asked) + "\n")
    zygote.stdin.flush()
    status = zygote.stdout.readline().strip()
    assert status == "0", f"{asked['script']} ended with status {status or 'none'}"


@cache
def _zygote() -> subprocess.Popen[str]:
    program = Path(__file__).with_name("zygote.py")
    return subprocess.Popen([sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def examined(script: Path, folder: Path, *arguments: str, deep: bool = False, audit: bool = False) -> Diagnosis:
    """What the examination says of the script and its run, with experiments on copies where the look is `deep`."""
    record = quickly_recorded(script, folder, *arguments, deep=deep, audit=audit)
    assert not record.process.all("disarmed"), record.process.all("disarmed")
    return examine(Program.around(script), record)


def told(diagnosis: Diagnosis) -> str:
    """The findings, a line each, for a failing test's message."""
    return "\n".join(f"{f.severity}: {f}" for f in diagnosis.all_findings()) or "nothing found"
