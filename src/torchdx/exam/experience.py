"""What rules and symptoms were seen to go together, over programs whose true fault is known.

The programs are the project's own: healthy ones, and ones into which one fault was planted. Kept are the cases
themselves, so that any of them can be left out of what is learnt; what is learnt are shares of programs, pulled towards
the share of all pairs of the same kind where few programs were seen (a Beta prior, empirical Bayes).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

from torchdx.rules import explanations

KEPT = "cases.json"

WORTH = 2.0
"""Programs that the common share of all pairs of a kind counts as, beside those seen of one pair."""

WORTH_OF_SILENCE = 20.0
"""The same for false alarms: rules are alike in that they hardly give any, so the common share says more."""

Explains = Mapping[str, Set[str]]
"""For each rule's name, the rules and symptoms that its fault brings about."""


@dataclass(frozen=True)
class Case:
    """A program whose truth is known: the rules that name its fault (none: it is healthy), and what was told of it."""

    program: str
    causes: frozenset[str]
    told: frozenset[str]

    @property
    def known_as(self) -> frozenset[str]:
        """The rules that it counts for: those that did name the fault, or all that could have."""
        return self.causes & self.told or self.causes


@dataclass(frozen=True)
class Experience:
    """Counts over cases, and the shares that follow from them."""

    healthy: int
    sick: Mapping[str, int]
    shown: Mapping[tuple[str, str], int]
    alarms: Mapping[str, int]
    explains: Explains

    @classmethod
    def of(cls, cases: Iterable[Case], explains: Explains) -> Experience:
        """Count what was told of which faults, and of none."""
        healthy = 0
        sick: Counter[str] = Counter()
        shown: Counter[tuple[str, str]] = Counter()
        alarms: Counter[str] = Counter()
        for case in cases:
            if not case.causes:
                healthy += 1
                alarms.update(case.told)
            for cause in case.known_as:
                sick[cause] += 1
                shown.update((cause, effect) for effect in case.told)
        return cls(healthy, sick, shown, alarms, explains)

    def brings(self, cause: str, effect: str) -> float:
        """How probably the fault makes this rule or symptom speak; for a rule's own fault, how probably it is found."""
        seen, of = self.shown.get((cause, effect), 0), self.sick.get(cause, 0)
        return (seen + WORTH * self._usual[self._kind(cause, effect)]) / (of + WORTH)

    def by_itself(self, effect: str) -> float:
        """How probably this rule or symptom speaks where nothing at all is wrong."""
        usual = self._alarms_in_all
        return (self.alarms.get(effect, 0) + WORTH_OF_SILENCE * usual) / (self.healthy + WORTH_OF_SILENCE)

    # --- common shares

    def _kind(self, cause: str, effect: str) -> str:
        if cause == effect:
            return "own"
        return "explained" if effect in self.explains.get(cause, ()) else "other"

    @cached_property
    def _effects(self) -> Set[str]:
        return {*self.explains, *(effect for effects in self.explains.values() for effect in effects)}

    @cached_property
    def _alarms_in_all(self) -> float:
        return (sum(self.alarms.values()) + 0.5) / (self.healthy * len(self._effects) + 1)

    @cached_property
    def _usual(self) -> Mapping[str, float]:
        """The share of all pairs of a kind in which the effect showed; one half of one more pair is added."""
        seen: Counter[str] = Counter()
        of: Counter[str] = Counter()
        for cause, programs in self.sick.items():
            explained = len(self.explains.get(cause, ()))
            of.update({"own": programs, "explained": programs * explained})
            of["other"] += programs * (len(self._effects) - explained - 1)
        for (cause, effect), programs in self.shown.items():
            seen[self._kind(cause, effect)] += programs
        return {kind: (seen[kind] + 0.5) / (of[kind] + 1) for kind in ("own", "explained", "other")}


def cases_kept() -> list[Case]:
    """The cases that come with the package."""
    text = resources.files(__package__).joinpath(KEPT).read_text(encoding="utf-8")
    return [Case(name, frozenset(causes), frozenset(told)) for name, causes, told in json.loads(text)]


@cache
def experience_kept() -> Experience:
    """What the cases that come with the package teach."""
    return Experience.of(cases_kept(), explanations())
