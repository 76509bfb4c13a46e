"""`torchdx lsp`: what `check` says, in an editor."""

from __future__ import annotations

import sys

import click

from torchdx.cli.words import Refusal


@click.command(short_help="Serve an editor: what check says, while one types.")
@click.option("--stdio", is_flag=True, help="On stdin and stdout, as always; editors like to say so.")
def lsp(stdio: bool) -> int:
    """Speak the language server protocol on stdin and stdout; an editor starts this, not a person.

    Open Python files are read a moment after each change, unsaved text included, together with the other files of their
    project; nothing is run. Faults are underlined, hovering over one shows its page, and quick fixes cure it.
    """
    try:
        from torchdx.integrations.lsp import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pygls", "lsprotocol"):
            raise
        raise Refusal("torchdx lsp needs pygls 2; pip install 'torchdx[lsp]' brings it.") from error
    if sys.stdin.isatty():
        raise Refusal("torchdx lsp is for editors to start, and hears only them; see docs/editors.md.")
    return serve()
