"""`torchdx check`: what is wrong, as far as the source alone shows it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from torchdx.cli.output import Wanted, report_options
from torchdx.cli.words import USAGE, say


@click.command(short_help="Read files and folders, run nothing; say what is wrong.")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="PATH...")
@report_options(output="Write the report here rather than on stdout.", html="Write an HTML report, too.")
def check(paths: tuple[Path, ...], wanted: Wanted) -> int:
    """Read the Python files at PATH, and in folders under it (default: here), and say what is wrong; - is stdin.

    Nothing is run and torch is not imported. Exits with 0 if nothing worse than a note is found, with 1 if there is,
    with 2 where something could not be read.
    """
    from torchdx.exam import examine
    from torchdx.finding import near
    from torchdx.source import Program

    if paths == (Path("-"),):
        program = Program.of({"<stdin>": sys.stdin.buffer.read()})
    else:
        program = Program.read([path.absolute() for path in paths or (Path(),)])
    diagnosis = examine(program, None)
    wanted.write_page(diagnosis, None)
    wanted.write(diagnosis)
    for problem in program.problems:
        say(f"{near(problem.path)}:{problem.line}: {problem.words}")
    if program.problems:
        return USAGE
    return 1 if diagnosis.worst() in ("error", "warning") else 0
