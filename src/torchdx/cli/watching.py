"""`torchdx check --watch`: checked again whenever a file changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchdx.cli.words import Refusal, say

if TYPE_CHECKING:
    from torchdx.cli.survey import Survey

LEAST_WAIT = 0.3
"""Seconds between two looks at the files; in a large folder, nine times as long as a look takes."""

Seen = dict[Path, tuple[int, int]]


def watch(ask: Callable[[], Survey], once: Callable[[Survey], int]) -> int:
    """Check, wait for a change, and check again, until Ctrl-C; what cannot be read at the moment is no end."""
    while True:
        seen: Seen = {}
        if sys.stdout.isatty():
            click.clear()
        try:
            survey = ask()
            seen = files_of(survey)
            once(survey)
        except Refusal as problem:
            say(problem.message)
        say(f"Watching {len(seen)} file{'' if len(seen) == 1 else 's'}; Ctrl-C ends it.")
        try:
            _wait(ask, seen)
        except KeyboardInterrupt:
            say("No longer watching.")
            return 130


def _wait(ask: Callable[[], Survey], seen: Seen) -> None:
    """Come back once a file is another, is gone, or is new."""
    wait = LEAST_WAIT
    while True:
        time.sleep(wait)
        started = time.perf_counter()
        try:
            if files_of(ask()) != seen:
                return
        except Refusal:
            if seen:
                return
        wait = max(LEAST_WAIT, 9 * (time.perf_counter() - started))


def files_of(survey: Survey) -> Seen:
    """When each file was last written, and its size; those with settings count, too."""
    from torchdx.source.reading import python_files

    seen: Seen = {}
    files = list(python_files(survey.places))
    folders = {above for place in (*survey.places, *files) for above in (place, *place.parents)}
    for path in (*files, *(folder / "pyproject.toml" for folder in folders)):
        try:
            found = path.stat()
        except OSError:
            continue
        seen[path] = (found.st_mtime_ns, found.st_size)
    return seen
