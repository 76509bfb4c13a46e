"""`torchdx check`: what is wrong, as far as the source alone shows it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchdx.cli.output import Wanted, report_options
from torchdx.cli.words import USAGE, Refusal, say

if TYPE_CHECKING:
    from torchdx.finding import Diagnosis
    from torchdx.source import Program


@click.command(short_help="Read files and folders, run nothing; say what is wrong.")
@click.argument("paths", nargs=-1, type=click.Path(), metavar="PATH...")
@report_options(output="Write the report here rather than on stdout.", html="Write an HTML report, too.")
def check(paths: tuple[str, ...], wanted: Wanted) -> int:
    """Read the Python files at PATH, and in folders under it (default: here), and say what is wrong; - is stdin.

    Nothing is run and torch is not imported. Exits with 0 if nothing worse than a note is found, with 1 if there is,
    with 2 where something could not be read.
    """
    from torchdx.exam import examine
    from torchdx.source import Program

    if paths == ("-",):
        program = Program.of({"<stdin>": sys.stdin.buffer.read()})
    else:
        program = Program.read([_place(path) for path in paths or (".",)])
    diagnosis = _told_apart(examine(program, None), program)
    wanted.write_page(diagnosis, None)
    wanted.write(diagnosis)
    for problem in program.problems:
        say(str(problem))
    if program.problems:
        return USAGE
    return 1 if diagnosis.worst() in ("error", "warning") else 0


def _place(path: str) -> Path:
    """The file or folder that is meant; a folder that holds nothing to read is refused."""
    from torchdx.source.reading import python_files

    place = Path(path).absolute()
    if not path or (place.is_dir() and not any(python_files([place]))):
        raise Refusal(f"There is no Python file in {place if path == '.' else path or repr(path)}.")
    return place


def _told_apart(diagnosis: Diagnosis, program: Program) -> Diagnosis:
    """The diagnosis; where files could not be read, finding no fault in the others is no good news of them."""
    from torchdx.finding import Verdict

    unread = {problem.path for problem in program.problems}
    if not unread or diagnosis.verdict.name != "no fault found":
        return diagnosis
    whole = unread | {file.path for file in program.files}
    if unread == whole:
        words = "The file could not be read." if len(unread) == 1 else f"None of the {len(unread)} files could be read."
    else:
        words = f"{len(unread)} of {len(whole)} files could not be read; nothing was found in the others."
    return replace(diagnosis, verdict=Verdict("not enough evidence", words))
