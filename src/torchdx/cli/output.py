"""Where a diagnosis goes, and in which form: the options that run, check and report share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from torchdx.cli.words import Refusal

if TYPE_CHECKING:
    from torchdx.finding import Diagnosis
    from torchdx.record import Record

FORMATS = ("text", "json", "sarif", "github")


@dataclass(frozen=True)
class Wanted:
    """What the user asked for: a format, a file for it, and a file for the HTML page."""

    form: str
    output: Path | None
    html: Path | None

    def write(
        self, diagnosis: Diagnosis, *, to_stderr: bool = False, quiet: bool = False, record: Record | None = None
    ) -> None:
        """Write the diagnosis into the file asked for, or else on a standard stream unless all is to be quiet.

        With a `record`, what is known of its pipelines of data is told, too.
        """
        if self.output:
            write_file(self.output, self._rendered(diagnosis, record))
        elif not quiet:
            stream = sys.stderr if to_stderr else sys.stdout
            if self.form == "text":
                self._show(diagnosis, stream, record)
            else:
                stream.write(self._rendered(diagnosis, record))
                stream.flush()

    def _show(self, diagnosis: Diagnosis, stream: TextIO, record: Record | None) -> None:
        from torchdx.report import journey, text

        if record is not None:
            journey.show(record, stream)
            stream.write("\n")
        text.show(diagnosis, stream)

    def write_page(self, diagnosis: Diagnosis, record: Record | None, beside: Path | None = None) -> Path | None:
        """Write the HTML page where it was asked for, or else to `beside`; give the place, if there is one."""
        place = self.html or beside
        if place:
            from torchdx.pages import fragments
            from torchdx.report.html import html
            from torchdx.rules import all_rules

            write_file(place, html(diagnosis, record, fragments(all_rules())))
        return place

    def _rendered(self, diagnosis: Diagnosis, record: Record | None = None) -> str:
        from torchdx import report

        if record is not None and self.form == "json":
            from torchdx.report.as_json import as_json

            return as_json(diagnosis, record)
        if record is not None and self.form == "text":
            from torchdx.report.journey import text

            return f"{text(record)}\n{report.FORMATS['text'](diagnosis, {})}"
        return report.FORMATS[self.form](diagnosis, _pages() if self.form == "sarif" else {})


def _pages() -> dict[str, str]:
    """The rules' pages as Markdown, by code."""
    from torchdx.pages import markdown_by_code
    from torchdx.rules import all_rules

    return markdown_by_code(all_rules())


def write_file(path: Path, text: str) -> None:
    """Write a text; a place that cannot be written to is told in one sentence."""
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise Refusal(f"Cannot write {path}: {error.strerror}.") from error


def _writable(ctx: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """A place that can be written to, as far as can be told before a long run."""
    if path and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise click.BadParameter(f"{path} is a folder." if path.is_dir() else f"There is no folder {path.parent}.")
    return path


def report_options(*, output: str, html: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a verb --format, --output and --html, handed over together as `wanted`."""

    def give(verb: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(verb)
        def with_wanted(form: str, output: Path | None, html: Path | None, **others: Any) -> Any:
            return verb(wanted=Wanted(form, output, html), **others)

        file: dict[str, Any] = {"type": click.Path(path_type=Path), "callback": _writable, "metavar": "FILE"}
        with_options = click.option("--html", help=html, **file)(with_wanted)
        with_options = click.option("--output", help=output, **file)(with_options)
        return click.option(
            "--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="The report's form."
        )(with_options)

    return give
