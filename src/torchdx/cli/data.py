"""`torchdx data`: what the network really sees, followed sample by sample through the user's own pipeline."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchdx.cli.output import Wanted, report_options
from torchdx.cli.run import CommandLast
from torchdx.cli.words import Refusal

if TYPE_CHECKING:
    from torchdx.finding import Diagnosis
    from torchdx.launch import Ending
    from torchdx.record import Record

ATTRIBUTE = re.compile(r"(?:[\w.]+|.+\.py):[A-Za-z_][\w.]*")
"""`package.module:attribute` or `file.py:attribute`."""

OPENER = "torchdx.watch.opener"


@click.command(cls=CommandLast, short_help="Follow samples to the model; say what is wrong with the data.")
@click.argument("target", nargs=-1, type=click.UNPROCESSED, metavar="TARGET...")
@report_options(output="Write the report here rather than on stdout.", html="Write an HTML report, too.")
@click.option("--record", type=click.Path(path_type=Path), metavar="DIR", help="Keep the record here, a new folder.")
@click.option(
    "--max-steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="Let a program train for N steps before its data are looked at.",
)
def data(target: tuple[str, ...], wanted: Wanted, record: Path | None, max_steps: int) -> int:
    """Follow real samples through a data pipeline, step by step, and measure many of them.

    TARGET is a program with its arguments, or MODULE:NAME or FILE.py:NAME of a Dataset, a DataLoader, a transform, or a
    function that gives one. A program is run until it has trained for a few steps, and its output goes to stderr; then
    each of its DataLoaders is audited. Nothing is trained further and nothing of the user's is written to.

    \b
    torchdx data train.py --epochs 3
    torchdx data --html data.html project.datasets:train_set
    \b
    Exits with 0 if nothing worse than a note is found, with 1 if there is,
    with 2 where there is nothing to look at or it could not be opened.
    """
    if not target:
        raise Refusal("There is nothing to look at; name a program or MODULE:NAME, as in 'torchdx data train.py'.")
    if record is not None:
        _refuse_full(record)
        return _audit(target, wanted, record, max_steps)
    with tempfile.TemporaryDirectory(prefix="torchdx-data-") as folder:
        return _audit(target, wanted, Path(folder), max_steps)


def _refuse_full(record: Path) -> None:
    if record.exists() and (not record.is_dir() or any(record.iterdir())):
        raise Refusal(f"{record} is there already; --record wants a new folder.")


def _audit(target: tuple[str, ...], wanted: Wanted, folder: Path, max_steps: int) -> int:
    from torchdx.cli.examination import program_of
    from torchdx.exam.pipelines import examine_data
    from torchdx.launch import launch
    from torchdx.record import Record

    named = len(target) == 1 and ATTRIBUTE.fullmatch(target[0]) and not Path(target[0]).exists()
    command = ("-m", OPENER, *target) if named else target
    ending = launch(command, folder, overhead=1.0, max_steps=None if named else max_steps, audit=True)
    record = Record.read(folder)
    if not record.pipelines:
        raise Refusal(_why_nothing(record, ending))
    diagnosis = examine_data(program_of(record), record)
    _tell(diagnosis, record, wanted)
    return 1 if diagnosis.worst() in ("error", "warning") else 0


def _why_nothing(record: Record, ending: Ending) -> str:
    if why := record.process.first("audit").get("why"):
        return str(why)
    if not record.saw_torch:
        return "No Python program under this command imported torch, so there was nothing to look at."
    if ending.status or ending.signal:
        how = f"by signal {ending.signal}" if ending.signal else f"with status {ending.status}"
        return f"The program ended {how} before it made a DataLoader, so there was nothing to look at."
    return "The program made no DataLoader, so there was nothing to follow; name a dataset as MODULE:NAME."


def _tell(diagnosis: Diagnosis, record: Record, wanted: Wanted) -> None:
    wanted.write_page(diagnosis, record)
    wanted.write(diagnosis, record=record)
