"""`torchdx check --diff` and `--fix`: the cures that can be written, shown or put into the files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from torchdx.cli.survey import Survey
from torchdx.cli.words import say

if TYPE_CHECKING:
    from torchdx.check.cure import Cured
    from torchdx.finding import Diagnosis
    from torchdx.source import Program


def cured(survey: Survey, program: Program, diagnosis: Diagnosis, unsafe: bool) -> Cured:
    """The program as it would be with all fixes in it, or with the safe ones."""
    from torchdx.check import cure

    return cure.cured(program, diagnosis, survey.diagnosis, unsafe=unsafe)


def show_diff(found: Cured) -> bool:
    """Print the changes as one patch; were there any?"""
    sys.stdout.buffer.write(found.patch().encode("utf-8", "surrogateescape"))
    sys.stdout.flush()
    return bool(found.changed)


def apply(found: Cured, unsafe: bool) -> None:
    """Write the files, and say what was changed and what is left."""
    from torchdx.check.cure import fix_of, write
    from torchdx.report.words import forget_files

    write(found.changed)
    forget_files()
    for finding, fix in found.done:
        say(f"Fixed {finding.site}: {finding.code} {finding.rule}: {fix.title}.")
    if found.done:
        say(f"{_counted(len(found.done), 'fault')} fixed in {_counted(len(found.changed), 'file')}.")
    elif unsafe:
        say("There is nothing that can be fixed.")
    else:
        say("There is nothing that can be fixed safely.")
    more = [] if unsafe else [f for f in found.diagnosis.all_findings() if fix_of(f, unsafe=True)]
    if more:
        say(f"{_counted(len(more), 'more fault')} can be fixed with --fix --unsafe; look at --diff first.")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
