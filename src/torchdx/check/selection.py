"""Rules as settings and comments name them: by code, by the beginning of codes, by name, or by family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from torchdx.rules import FAMILIES, all_rules, name_of

NO_REASON, UNUSED = "TDX001", "TDX002"
OWN: Mapping[str, str] = {NO_REASON: "suppression-without-reason", UNUSED: "unused-suppression"}
"""What the check itself has to say, by code: about comments that silence findings, which are no faults of training."""


class BadSetting(ValueError):
    """What was asked of the check cannot be done; the message is one sentence."""


class UnknownRule(BadSetting):
    """A word that names no rule."""

    def __init__(self, word: str, where: str = "") -> None:
        self.word = word
        self.where = where
        super().__init__(f"There is no rule, code or family {word!r}{where and f' ({where})'}.")


@cache
def _known() -> Mapping[str, frozenset[str]]:
    """The codes behind every whole word that may be said, in lower case."""
    known = {family: frozenset(rule.code for rule in all_rules() if rule.family == family) for family in FAMILIES}
    named = [(rule.code, name_of(rule)) for rule in all_rules()] + list(OWN.items())
    for code, name in named:
        known[code.lower()] = known[name] = frozenset({code})
    return known


def codes_of(word: str, where: str = "") -> frozenset[str]:
    """The codes that a word stands for; `UnknownRule` where it stands for none."""
    plain = word.strip().lower().replace("_", "-")
    known = _known().get(plain)
    if known is not None:
        return known
    begun = frozenset(code.upper() for code in _known() if plain.startswith("tdx") and code.startswith(plain))
    if not begun:
        raise UnknownRule(word.strip(), where)
    return begun


def all_codes_of(words: Iterable[str], where: str = "") -> frozenset[str]:
    """The codes that several words stand for."""
    return frozenset(code for word in words for code in codes_of(word, where))
