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
        hint = suggested(word) or " 'torchdx rules' lists them."
        raise Refusal(f"There is no rule {word!r}.{hint}")
    return rule


def suggested(word: str) -> str:
    """A name like the word; or, for a word like a code, a code that differs in one place: others are no likelier."""
    codes, names = ([known for known in _words() if known.isupper() is whether] for whether in (True, False))
    return suggestion(word, codes, 0.8) if word[:3].upper() == "TDX" else suggestion(word, names)


def _complete(ctx: click.Context, argument: click.Parameter, begun: str) -> list[str]:
    """The names and codes that begin like this."""
    begun = begun.lower().replace("_", "-")
    return [word for word in _words() if word.lower().startswith(begun)]


def _words() -> list[str]:
    from torchdx.rules import all_rules, name_of

    rules = all_rules()
    return [name_of(rule) for rule in rules] + [rule.code for rule in rules]
