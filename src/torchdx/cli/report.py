"""`torchdx report`: a saved record, examined again."""

from __future__ import annotations

from pathlib import Path

import click

from torchdx.cli.output import Wanted, report_options
from torchdx.cli.words import Refusal


@click.command(short_help="Report on a saved run again; needs no torch.")
@click.argument("record", type=click.Path(path_type=Path))
@report_options(output="Write the report here rather than on stdout.", html="Write an HTML report, too.")
def report(record: Path, wanted: Wanted) -> int:
    """Report again on a run that 'torchdx run' recorded in the folder RECORD.

    The folder may come from another machine; neither torch nor the program is run. The rules of this version of
    torchdx are used, so an old record may show new faults.
    """
    from torchdx.cli.examination import examine_record

    seen, diagnosis = examine_record(record)
    if seen.processes and not any(process.facts for process in seen.processes):
        raise Refusal(f"{record} holds a record of which not one line can be read.")
    wanted.write_page(diagnosis, seen)
    wanted.write(diagnosis)
    return 0
