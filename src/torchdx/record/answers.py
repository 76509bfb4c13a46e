"""The answers of a loss call over a run: of a classifier by class, of a Gaussian likelihood beside its own variance."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torchdx.finding import Site
from torchdx.record.anatomy import site_of
from torchdx.record.facts import Fact


@dataclass(frozen=True)
class Answers:
    """What a loss call at one place was told of its answers, in order of time; `phase` is "train" or "eval"."""

    function: str
    site: Site | None
    phase: str
    told: tuple[Fact, ...]

    def since(self, step: int) -> Answers:
        """Only those told after this step."""
        return Answers(self.function, self.site, self.phase, tuple(fact for fact in self.told if fact["step"] > step))

    @property
    def finite(self) -> Answers:
        """Only those with a finite value: of scores that are NaN, the first is the greatest."""
        told = tuple(fact for fact in self.told if math.isfinite(fact.get("value") or 0.0))
        return Answers(self.function, self.site, self.phase, told)

    def counts(self, key: str) -> Counter[int]:
        """How often each class was `predicted`, `wanted` or both (`right`), over all."""
        counts: Counter[int] = Counter()
        for fact in self.told:
            counts.update(by_label(fact.get(key)))
        return counts


def by_label(counts: Mapping[str, int] | None) -> dict[int, int]:
    """Counts as they stand in a fact, by label."""
    return {int(label): count for label, count in (counts or {}).items()}


def entropy_of(counts: Mapping[int, int]) -> float:
    """The entropy of these counts in nats."""
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values() if n)


def answers_of(facts: Iterable[Fact]) -> tuple[Answers, ...]:
    """The `answers` facts, by place and phase."""
    told: dict[tuple[str, str, str], list[Fact]] = defaultdict(list)
    for fact in facts:
        told[fact["fn"], str(fact.get("site")), fact["phase"]].append(fact)
    return tuple(Answers(fn, site_of(of[0].get("site")), phase, tuple(of)) for (fn, _, phase), of in told.items())
