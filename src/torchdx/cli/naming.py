"""Rules as a person names them on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from torchdx.cli.words import Refusal, suggestion

if TYPE_CHECKING:
    from torchdx.rules import Rule


def rule_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb its one argument, a rule."""
    return click.argument("rule", callback=_find, shell_complete=_complete)(command)


def _find(ctx: click.Context, argument: click.Parameter, word: str) -> Rule:
    """The rule of this code or name, in any case; a mistyped one gets a suggestion."""
    from torchdx.rules import find_rule

    rule = find_rule(word)
    if rule is None:
        hint = suggestion(word, _words()) or " 'torchdx rules' lists them."
        raise Refusal(f"There is no rule {word!r}.{hint}")
    return rule


def _complete(ctx: click.Context, argument: click.Parameter, begun: str) -> list[str]:
    """The names and codes that begin like this."""
    begun = begun.lower().replace("_", "-")
    return [word for word in _words() if word.lower().startswith(begun)]


def _words() -> list[str]:
    from torchdx.rules import all_rules, name_of

    rules = all_rules()
    return [name_of(rule) for rule in rules] + [rule.code for rule in rules]
