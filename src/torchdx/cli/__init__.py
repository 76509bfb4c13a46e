"""The command line: one small module a verb, loaded when that verb is asked for. Only this package exits."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from torchdx.cli.words import USAGE, Refusal, mute, one_sentence, say, sentence_of, suggestion

VERBS = ("run", "data", "check", "report", "explain", "rules", "case", "lsp", "completion")
"""In the order of `torchdx --help`; each is a module here with a command of that name."""


class Verbs(click.Group):
    """A group whose commands are modules, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order a newcomer needs them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, or None."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"torchdx.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that was asked for; a mistyped one gets a suggestion."""
        word = args[0]
        if word not in VERBS and not ctx.resilient_parsing:
            hint = suggestion(word, VERBS)
            if word.endswith(".py"):
                hint = f" Did you mean 'torchdx run {word}' or 'torchdx check {word}'?"
            raise Refusal(f"There is no command {word!r}.{hint or ' See torchdx --help.'}")
        return super().resolve_command(ctx, args)


def _show_version(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from torchdx import __version__

        click.echo(f"torchdx {__version__}")
        ctx.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def torchdx() -> None:
    """A doctor for PyTorch training.

    Run your own program under it, unchanged, and be told which fault it has, where, on what evidence, and how to
    cure it.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Do what the command line says and exit; whatever goes wrong is told in one sentence."""
    sys.exit(_status(arguments))


def _status(arguments: Sequence[str] | None) -> int:
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        status = torchdx.main(words or ["--help"], prog_name="torchdx", standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except click.ClickException as problem:
        say(one_sentence(problem))
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # `torchdx rules | head` is no failure of ours to tell of
        mute(sys.stdout)
        return 1
    except Exception as problem:
        if os.environ.get("TORCHDX_DEBUG"):
            raise
        sentence, status = sentence_of(problem)
        say(sentence)
        return status
