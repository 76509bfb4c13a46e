"""Run a program under the launcher, and examine what was recorded together with its source."""

from __future__ import annotations

import os
from pathlib import Path

from torchdx.exam import examine
from torchdx.finding import Diagnosis
from torchdx.launch import launch
from torchdx.record import Record
from torchdx.source import Program

os.environ.setdefault("OMP_NUM_THREADS", "1")


def recorded(script: Path, folder: Path, *arguments: str) -> Record:
    """The record of the script, run to its end; it must succeed."""
    ending = launch([str(script), *arguments], folder)
    assert ending.status == 0, f"{script} ended with {ending}"
    return Record.read(folder)


def examined(script: Path, folder: Path, *arguments: str) -> Diagnosis:
    """What the examination says of the script and its run."""
    record = recorded(script, folder, *arguments)
    assert not record.process.all("disarmed"), record.process.all("disarmed")
    return examine(Program.around(script), record)


def told(diagnosis: Diagnosis) -> str:
    """The findings, a line each, for a failing test's message."""
    return "\n".join(f"{f.severity}: {f}" for f in diagnosis.all_findings()) or "nothing found"
