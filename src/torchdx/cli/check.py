"""`torchdx check`: what is wrong, as far as the source alone shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchdx.cli.output import Wanted, report_options, write_file
from torchdx.cli.survey import STDIN, Survey, refusing
from torchdx.cli.words import USAGE, Refusal, say

if TYPE_CHECKING:
    from torchdx.finding import Diagnosis
    from torchdx.source import Program

FILE = click.Path(path_type=Path)


@dataclass(frozen=True)
class Asked:
    """What is to be done with what is found."""

    wanted: Wanted
    fix: bool
    unsafe: bool
    diff: bool
    statistics: bool
    baseline: Path | None
    write_baseline: Path | None


@click.command(short_help="Read files and folders, run nothing; say what is wrong.")
@click.argument("paths", nargs=-1, type=click.Path(), metavar="PATH...")
@report_options(output="Write the report here rather than on stdout.", html="Write an HTML report, too.")
@click.option("--select", multiple=True, metavar="RULES", help="Tell of these alone: codes, TDX4, names, families.")
@click.option("--ignore", multiple=True, metavar="RULES", help="Do not tell of these.")
@click.option("--fix", is_flag=True, help="Apply the fixes that are safe, then tell of what is left.")
@click.option("--unsafe", is_flag=True, help="With --fix: apply the other fixes, too.")
@click.option("--diff", is_flag=True, help="Print fixes as a patch and change nothing; with --fix, those it applies.")
@click.option("--baseline", type=FILE, metavar="FILE", help="Tell only of findings that are not in this file.")
@click.option("--write-baseline", type=FILE, metavar="FILE", help="Write what is found into this file, and succeed.")
@click.option("--statistics", is_flag=True, help="Count findings rather than show them.")
@click.option("--stdin-name", default="", metavar="PATH", help="The file that stdin is the unsaved text of.")
@click.option("--no-cache", is_flag=True, help="Ask every rule again, even about files that did not change.")
@click.option("--watch", is_flag=True, help="Check again whenever a file changes, until Ctrl-C.")
def check(
    paths: tuple[str, ...],
    wanted: Wanted,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    stdin_name: str,
    no_cache: bool,
    watch: bool,
    **others: bool | Path | None,
) -> int:
    """Read the Python files and notebooks at PATH, and in folders under it (default: here), and say what is wrong.

    PATH may be - for stdin. Nothing is run and torch is not imported. Settings are read from the table [tool.torchdx]
    of the nearest pyproject.toml; a comment `# torchdx: ok RULE - reason` silences a finding on its line.

    \b
    Exits with 0 if nothing worse than a note is found (or left, after --fix),
    with 1 if there is, or if --diff has something to print,
    with 2 where something could not be read, written or understood,
    with 130 when Ctrl-C ends --watch.
    """
    asked = Asked(wanted, **others)  # type: ignore[arg-type]
    _refuse_contradictions(paths, asked, stdin_name, watch)

    def survey() -> Survey:
        with refusing():
            survey = _survey(paths, select, ignore, stdin_name, remembers=not no_cache)
            return survey.with_baseline(asked.baseline)

    if watch:
        from torchdx.cli.watching import watch as watch_files

        return watch_files(survey, lambda found: _once(found, asked))
    return _once(survey(), asked)


def _refuse_contradictions(paths: tuple[str, ...], asked: Asked, stdin_name: str, watch: bool) -> None:
    changes = [name for name, is_on in (("--fix", asked.fix), ("--diff", asked.diff)) if is_on]
    if asked.unsafe and not changes:
        raise Refusal("--unsafe means nothing without --fix.")
    if STDIN in paths and paths != (STDIN,):
        raise Refusal("stdin (-) can only be checked alone.")
    if stdin_name and paths != (STDIN,):
        raise Refusal("--stdin-name needs - in the place of a path.")
    if paths == (STDIN,) and (watch or (asked.fix and not asked.diff)):
        raise Refusal(f"{'--watch' if watch else '--fix'} needs files, and stdin is none; --diff prints the changes.")
    if watch and (changes or asked.write_baseline):
        raise Refusal(f"{[*changes, '--write-baseline'][0]} and --watch do not go together.")
    if changes and asked.write_baseline:
        raise Refusal(f"{changes[0]} and --write-baseline do not go together.")


def _survey(
    paths: tuple[str, ...], select: tuple[str, ...], ignore: tuple[str, ...], stdin_name: str, remembers: bool
) -> Survey:
    from torchdx.check import Configuration
    from torchdx.check.selection import all_codes_of

    chosen, left_out = (
        all_codes_of(word for words in given for word in words.split(",")) for given in (select, ignore)
    )
    configuration = Configuration(chosen if select else None, left_out)
    return Survey(paths, configuration, stdin_name=stdin_name, remembers=remembers)


def _once(survey: Survey, asked: Asked) -> int:
    """Check one time, do what was asked for, and give the exit status."""
    from torchdx.report.words import forget_files

    forget_files()
    started = time.perf_counter()
    with refusing():
        program = survey.program()
        diagnosis = survey.known_and_new(program)
        if asked.write_baseline:
            _write_baseline(asked.write_baseline, diagnosis, program)
            return _told_of_problems(survey, program) or 0
        diagnosis = _new(survey, diagnosis, program)
        if asked.fix or asked.diff:
            from torchdx.cli import fixing

            unsafe = asked.unsafe or not asked.fix
            found = fixing.cured(survey, program, diagnosis, unsafe)
            if asked.diff:
                differs = fixing.show_diff(found)
                return _told_of_problems(survey, program) or int(differs)
            fixing.apply(found, unsafe)
            program, diagnosis = found.program, found.diagnosis
    _report(_told_apart(survey, diagnosis, program), asked, len(program.files), time.perf_counter() - started)
    return _told_of_problems(survey, program) or int(diagnosis.worst() in ("error", "warning"))


def _report(diagnosis: Diagnosis, asked: Asked, files: int, seconds: float) -> None:
    asked.wanted.write_page(diagnosis, None)
    counts_instead = asked.statistics and asked.wanted.form == "text" and not asked.wanted.output
    if not counts_instead:
        asked.wanted.write(diagnosis)
    if asked.statistics:
        from torchdx.cli.statistics import statistics

        click.echo(statistics(diagnosis, files, seconds), nl=False, err=not counts_instead)


def _told_of_problems(survey: Survey, program: Program) -> int:
    """Say what could not be read; the status for that, if there was anything."""
    problems = survey.problems(program)
    for problem in problems:
        say(str(problem))
    return USAGE if problems else 0


def _new(survey: Survey, diagnosis: Diagnosis, program: Program) -> Diagnosis:
    """What the baseline does not know, saying how much it does."""
    if survey.baseline is None:
        return diagnosis
    compared = survey.baseline.compared(diagnosis, program)
    gone = f"; {compared.gone} of the baseline {'is' if compared.gone == 1 else 'are'} there no more"
    say(f"{compared.known} known finding{'' if compared.known == 1 else 's'} left out{gone if compared.gone else ''}.")
    return compared.diagnosis


def _write_baseline(file: Path, diagnosis: Diagnosis, program: Program) -> None:
    from torchdx.check.baseline import Baseline

    baseline = Baseline.of(diagnosis.all_findings(), program, file)
    write_file(file, baseline.text())
    count = baseline.known.total()
    say(f"{count} finding{'' if count == 1 else 's'} written to {file}; --baseline {file} leaves them out.")


def _told_apart(survey: Survey, diagnosis: Diagnosis, program: Program) -> Diagnosis:
    """The diagnosis; where files could not be read, finding no fault in the others is no good news of them."""
    from torchdx.finding import Verdict

    unread = {problem.path for problem in survey.problems(program)}
    if not unread or diagnosis.verdict.name != "no fault found":
        return diagnosis
    whole = unread | {file.path for file in program.files}
    if unread == whole:
        words = "The file could not be read." if len(unread) == 1 else f"None of the {len(unread)} files could be read."
    else:
        words = f"{len(unread)} of {len(whole)} files could not be read; nothing was found in the others."
    return replace(diagnosis, verdict=Verdict("not enough evidence", words))
