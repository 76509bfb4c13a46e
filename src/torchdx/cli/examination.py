"""From a record's folder to a diagnosis, with the program that made it where that is still there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torchdx.cli.words import say

if TYPE_CHECKING:
    from torchdx.finding import Diagnosis
    from torchdx.record import Record
    from torchdx.source import Program


def examine_record(folder: Path) -> tuple[Record, Diagnosis]:
    """Read the record in a folder and examine it together with its program."""
    from torchdx.exam import examine
    from torchdx.record import Record

    record = Record.read(folder)
    program = program_of(record)
    return record, _told(examine(program, record), program, record)


def _told(diagnosis: Diagnosis, program: Program | None, record: Record) -> Diagnosis:
    """What comments and settings let be told; settings that cannot be understood are said to be, and no more."""
    from torchdx.check import BadSetting, Configuration, told
    from torchdx.source import Program

    here = program.files if program is not None else ()
    sites = {finding.site.path for finding in diagnosis.all_findings() if finding.site}
    beside = Program.read(sorted(sites - {file.path for file in here})).files
    try:
        return told(diagnosis, (*here, *beside), Configuration(), record)
    except BadSetting as problem:
        say(f"{problem} So no settings were followed.")
        return diagnosis


def program_of(record: Record) -> Program | None:
    """The program that the record tells of, as its files are now; None where they are gone."""
    from torchdx.source import Program

    script = script_of(record)
    return Program.around(script) if script else None


def script_of(record: Record) -> Path | None:
    """The file that the training process ran as its main program, by its own word or else by the command's."""
    home = Path(record.run.get("cwd") or "")
    words = [record.process.first("process").get("main"), *record.run.get("command", ())]
    files = (home / str(word) for word in words if word and str(word).endswith((".py", ".pyw")))
    return next((file for file in files if file.is_file()), None)
