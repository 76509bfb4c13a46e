"""`torchdx report`: a saved record, examined again."""

from __future__ import annotations

from pathlib import Path

import click

from torchdx.cli.output import Wanted, report_options


@click.command(short_help="Examine a saved record again; needs no torch.")
@click.argument("record", type=click.Path(path_type=Path))
@report_options(output="Write the report here rather than on stdout.", html="Write an HTML report, too.")
def report(record: Path, wanted: Wanted) -> int:
    """Examine the folder RECORD that `torchdx run` wrote, here or elsewhere, with the rules of today."""
    from torchdx.cli.examination import examine_record

    seen, diagnosis = examine_record(record)
    wanted.write_page(diagnosis, seen)
    wanted.write(diagnosis)
    return 0
