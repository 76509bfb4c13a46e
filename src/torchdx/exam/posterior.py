"""Which faults are there, given all that was told: Bayes' rule in a network of faults and what they bring about.

Every fault may or may not be there. What a rule or symptom says comes from any of the faults that are there, each with
the probability that it brings this about, or from none (a noisy OR, as in the medical networks of M. Shwe et al.,
"Probabilistic diagnosis using a reformulation of the INTERNIST-1/QMR knowledge base", 1991). So a finding that another
fault explains away becomes less probable as a fault of its own. Only what was said counts: a rule that was silent may
not have had the chance to speak.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import combinations

from torchdx.exam.experience import Experience

FAULTY = 0.5
"""How probably a program that is brought to a doctor has a fault: nothing is known, so one half."""

FREQUENT: Mapping[str, int] = {
    "activations": 26,
    "schedules": 40,
    "loss": 17,
    "data": 14,
    "normalisation": 12,
    "gradients": 6,
    "loop": 5,
}
"""How many of 57 faulty programs, from questions on programming and from repositories, had a fault of this family.

Counted in the labels of the benchmark of J. Cao et al., "DeepFD: automated fault diagnosis and localization for deep
learning programs" (2022): wrong or missing activations and initialisation 26, learning rates, epochs and batch sizes
40, losses 17, preprocessing and data 14, layers and their properties 12, optimizers 11. Families that it does not know
count as one.
"""

PROGRAMS = 57
_MOST = 8
"""Faults of which every set is weighed; any further one is weighed beside the best of these sets."""


def prior(family: str, rules: int) -> float:
    """How probable one fault is beforehand, where its family has so many rules."""
    return FAULTY * FREQUENT.get(family, 1) / PROGRAMS / max(1, rules)


def log_odds(probability: float) -> float:
    """The weight of evidence that makes one half into this probability; it is bounded, as no rule is certain."""
    bounded = min(max(probability, 0.01), 0.99)
    return math.log(bounded / (1 - bounded))


class Network:
    """Faults that may be there, and everything that was said."""

    def __init__(self, priors: Mapping[str, float], said: Iterable[str], experience: Experience) -> None:
        self.priors = priors
        self.said = sorted(set(said))
        self.experience = experience
        self._quiet = {(c, e): math.log1p(-experience.brings(c, e)) for c in priors for e in self.said}
        self._alone = {e: math.log1p(-experience.by_itself(e)) for e in self.said}

    def weight(self, faults: Sequence[str]) -> float:
        """The logarithm of how probable it is that just these faults are there and all that was said is said."""
        there = sum(math.log(p) if cause in faults else math.log1p(-p) for cause, p in self.priors.items())
        quiet = (self._alone[e] + sum(self._quiet[cause, e] for cause in faults) for e in self.said)
        return there + sum(math.log(-math.expm1(each)) for each in quiet)

    def probabilities(self) -> dict[str, float]:
        """How probable each fault is, the others being there or not."""
        likely = sorted(self.priors, key=lambda cause: -self.weight([cause]))[:_MOST]
        sets = [chosen for size in range(len(likely) + 1) for chosen in combinations(likely, size)]
        weights = [self.weight(chosen) for chosen in sets]
        top = max(weights)
        shares = [math.exp(weight - top) for weight in weights]
        total = sum(shares)
        best = sets[weights.index(top)]
        return {
            cause: sum(share for chosen, share in zip(sets, shares, strict=True) if cause in chosen) / total
            if cause in likely
            else 1 / (1 + math.exp(min(top - self.weight([*best, cause]), 700.0)))
            for cause in self.priors
        }


def network_of(rules: Set[str], symptoms: Set[str], families: Mapping[str, str], experience: Experience) -> Network:
    """The network of the faults that these rules name, given what they and the symptoms say.

    `families` names the family of every rule there is.
    """
    sizes = Counter(families.values())
    priors = {rule: prior(families.get(rule, ""), sizes[families.get(rule, "")]) for rule in sorted(rules)}
    return Network(priors, rules | symptoms, experience)
