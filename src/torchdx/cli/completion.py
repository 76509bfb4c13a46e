"""`torchdx completion`: the script that lets a shell complete our words."""

from __future__ import annotations

import click


@click.command(short_help="Print the script that completes our words in a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="SHELL")
def completion(shell: str) -> int:
    """Print the completion script of SHELL.

    \b
    bash: eval "$(torchdx completion bash)"       in ~/.bashrc
    zsh:  eval "$(torchdx completion zsh)"        in ~/.zshrc
    fish: torchdx completion fish | source        in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    from torchdx.cli import torchdx

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(torchdx, {}, "torchdx", "_TORCHDX_COMPLETE").source())
    return 0
