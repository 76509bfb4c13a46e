"""`torchdx run`: the user's command as it would run alone, and then what was seen."""

from __future__ import annotations

import contextlib
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchdx.cli.output import Wanted, report_options
from torchdx.cli.words import Refusal, say

if TYPE_CHECKING:
    from torchdx.finding import Diagnosis
    from torchdx.record import Record

HOME = Path("torchdx-runs")
"""Where records go when nobody says otherwise."""


class CommandLast(click.Command):
    """A command whose own options stop at the first word that is not one of them; the rest is another's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Part the arguments; a word like `-m` begins a python command, since none of our options is that short."""
        flags = {name for option in self.get_params(ctx) if getattr(option, "is_flag", False) for name in option.opts}
        at = 0
        while at < len(args) and args[at].startswith("--") and args[at] != "--":
            at += 1 if "=" in args[at] or args[at] in flags else 2
        if at < len(args) and args[at] != "--" and args[at] not in ctx.help_option_names:
            args = [*args[:at], "--", *args[at:]]
        return super().parse_args(ctx, args)


def _share(ctx: click.Context, option: click.Parameter, words: str) -> float:
    """A share of the run's time, written `2%` or `0.02`, as a number between 0 and 1."""
    try:
        share = float(words.removesuffix("%")) / (100 if words.endswith("%") else 1)
    except ValueError:
        raise click.BadParameter(f"{words!r} is not a share; write 2% or 0.02.") from None
    if not 0 < share <= 1:
        raise click.BadParameter(f"{words!r} is not between 0 and 100%; two percent is 2% or 0.02.")
    return share


@click.command(cls=CommandLast, short_help="Run a program unchanged; say what is wrong with its training.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND...")
@report_options(
    output="Write the report here rather than on stderr.",
    html="Write the HTML report here rather than into the record.",
)
@click.option("--record", type=click.Path(path_type=Path), metavar="DIR", help="Keep the record here, a new folder.")
@click.option(
    "--overhead",
    callback=_share,
    metavar="SHARE",
    default="2%",
    show_default=True,
    help="The largest share of the run's own time that watching may take.",
)
@click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="End the run, cleanly, after N steps.")
@click.option("--deep", is_flag=True, help="Make experiments on copies of the model at the end, for a minute at most.")
@click.option("--strict", is_flag=True, help="Exit with 1 if the report has errors though the command succeeded.")
@click.option("--quiet", is_flag=True, help="Print no report on stderr.")
def run(
    command: tuple[str, ...],
    wanted: Wanted,
    record: Path | None,
    overhead: float,
    max_steps: int | None,
    deep: bool,
    strict: bool,
    quiet: bool,
) -> int:
    """Run COMMAND exactly as it would run alone, then say on stderr what is wrong with its training.

    COMMAND is a python file, python's own options (-m package.train), or any program that starts python, with its
    arguments. Our options end where it begins. The exit status, or the signal, is the command's own.

    \b
    torchdx run train.py --epochs 3
    torchdx run -m package.train
    torchdx run torchrun --nproc-per-node 2 train.py
    """
    from torchdx.launch import end_as, launch

    if not command:
        raise Refusal("There is nothing to run; name a command, as in 'torchdx run train.py'.")
    folder = _new_folder(record, command)
    ending = launch(command, folder, overhead=overhead, max_steps=max_steps, deep=deep)
    diagnosis = None
    with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C hurries us, and changes nothing for the caller
        diagnosis = _tell(folder, wanted, quiet)
    if not (strict and ending.status == 0 and diagnosis and diagnosis.worst() == "error"):
        end_as(ending)
    return 1


def _new_folder(record: Path | None, command: tuple[str, ...]) -> Path:
    """The record's folder, made; one that is somebody's already is refused."""
    if record is not None:
        if record.is_dir() and not any(record.iterdir()):
            return record
        try:
            record.mkdir(parents=True)
        except FileExistsError:
            raise Refusal(f"{record} is there already; --record wants a new folder.") from None
        return record
    try:
        HOME.mkdir(exist_ok=True)
    except OSError as problem:
        raise Refusal(f"{HOME} cannot be made here ({problem.strerror}); name a folder with --record.") from None
    with contextlib.suppress(FileExistsError), (HOME / ".gitignore").open("x") as ignore:
        ignore.write("*\n")
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{_title(command)}"
    for number in range(1, 10_000):
        folder = HOME / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise Refusal(f"{HOME} has no room for one more record named {name}; name one with --record.")


def _title(command: tuple[str, ...]) -> str:
    """What to call the run: its first file, or the module after -m, or the command."""
    words = [word for word in command if word.endswith((".py", ".sh"))]
    words += [after for before, after in pairwise(command) if before == "-m"]
    plain = Path((words or [command[0]])[0]).name.removesuffix(".py").removesuffix(".sh")
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in plain).strip("-.")[:60] or "run"


def _tell(folder: Path, wanted: Wanted, quiet: bool) -> Diagnosis | None:
    """Examine the record and report on stderr; nothing that goes wrong here may become the command's fault."""
    try:
        return _report(folder, wanted, quiet)
    except Exception as problem:
        words = " ".join(str(problem).split())
        say(f"The examination failed ({type(problem).__name__}: {words}); the record is kept in {folder}.")
        return None


def _why_nothing(record: Record) -> str:
    """Why there is nothing to tell of a run that never imported torch: it may have failed before it could."""
    from torchdx.report.words import ending

    status, number = record.run.get("status"), record.run.get("signal")
    if number:
        return f"It was {ending(-number)} before torch was imported."
    if status:
        return f"It ended with {ending(status)} before torch was imported."
    return "Nothing to tell: no Python program under this command imported torch."


def _report(folder: Path, wanted: Wanted, quiet: bool) -> Diagnosis | None:
    from torchdx.cli.examination import examine_record

    record, diagnosis = examine_record(folder)
    if not record.saw_torch:
        trouble = sorted(folder.glob("trouble-*.txt"))
        if trouble:
            say(f"The program could not be watched; {trouble[0]} says why.")
        else:
            say(_why_nothing(record))
        return None
    wanted.write(diagnosis, to_stderr=True, quiet=quiet)
    page = wanted.write_page(diagnosis, record, beside=folder / "report.html")
    if not quiet:
        say(f"The record is in {folder}, the page to look at is {page}.")
    return diagnosis
