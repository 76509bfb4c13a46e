"""The network of faults and what they bring about, against the textbook and a naive twin."""

from __future__ import annotations

from itertools import product

import pytest

from torchdx.exam.experience import Case, Experience, cases_kept, experience_kept
from torchdx.exam.posterior import Network, network_of, prior
from torchdx.rules import all_rules, name_of

EXPLAINS = {"raw": {"saturated", "flat"}, "saturated": {"flat"}, "shut": set()}


def case(program: str, causes: str, told: str) -> Case:
    return Case(program, frozenset(causes.split()), frozenset(told.split()))


EXPERIENCE = Experience.of(
    [
        *(case(f"healthy {k}", "", "") for k in range(40)),
        *(case(f"raw {k}", "raw", "raw saturated flat") for k in range(8)),
        case("raw 8", "raw", "raw"),
        *(case(f"saturated {k}", "saturated", "saturated flat") for k in range(5)),
        *(case(f"shut {k}", "shut", "shut") for k in range(5)),
    ],
    EXPLAINS,
)
PRIORS = {"raw": 0.02, "saturated": 0.02, "shut": 0.02}


def test_shares_are_those_of_the_cases_pulled_a_little_towards_the_usual() -> None:
    assert EXPERIENCE.healthy == 40
    assert 0.8 < EXPERIENCE.brings("raw", "saturated") < 8 / 9 + 0.05
    assert EXPERIENCE.brings("raw", "raw") > 0.95
    assert EXPERIENCE.brings("shut", "raw") < 0.05
    assert EXPERIENCE.by_itself("raw") < 0.01
    assert EXPERIENCE.brings("unheard of", "raw") < 0.1


def test_a_fault_that_is_told_alone_is_believed() -> None:
    assert Network({"shut": 0.02}, {"shut"}, EXPERIENCE).probabilities()["shut"] > 0.9


def test_what_another_fault_explains_away_is_believed_less() -> None:
    alone = Network({"saturated": 0.02}, {"saturated", "flat"}, EXPERIENCE).probabilities()["saturated"]
    beside = Network(PRIORS, {"raw", "saturated", "flat"}, EXPERIENCE).probabilities()
    assert alone > 0.9
    assert beside["raw"] > 0.9
    assert beside["saturated"] < 0.2


def test_the_cause_of_more_symptoms_is_the_likelier_only_one() -> None:
    network = Network(PRIORS, {"raw", "saturated", "flat"}, EXPERIENCE)
    assert network.weight(["raw"]) > network.weight(["saturated"])


def test_probabilities_are_those_of_counting_every_set_of_faults() -> None:
    said = {"raw", "saturated", "flat", "shut"}
    total, there = 0.0, dict.fromkeys(PRIORS, 0.0)
    for present in product([False, True], repeat=3):
        faults = [cause for cause, is_there in zip(PRIORS, present, strict=True) if is_there]
        weight = 1.0
        for cause, p in PRIORS.items():
            weight *= p if cause in faults else 1 - p
        for effect in said:
            silent = 1 - EXPERIENCE.by_itself(effect)
            for cause in faults:
                silent *= 1 - EXPERIENCE.brings(cause, effect)
            weight *= 1 - silent
        total += weight
        for cause in faults:
            there[cause] += weight
    told = Network(PRIORS, said, EXPERIENCE).probabilities()
    assert told == pytest.approx({cause: weight / total for cause, weight in there.items()})


def test_priors_share_a_family_s_frequency_among_its_rules() -> None:
    assert prior("loss", 10) == pytest.approx(0.5 * 17 / 57 / 10)
    assert prior("a family nobody counted", 1) == pytest.approx(0.5 / 57)


def test_the_cases_that_come_along_are_of_rules_that_exist() -> None:
    known = {name_of(rule) for rule in all_rules()}
    cases = cases_kept()
    assert len({case.program for case in cases}) == len(cases)
    assert sum(not case.causes for case in cases) >= 40
    assert sum(bool(case.causes) for case in cases) >= 100
    assert {cause for case in cases for cause in case.causes} <= known


def test_every_rule_can_be_weighed() -> None:
    families = {name_of(rule): rule.family for rule in all_rules()}
    for rule in families:
        network = network_of({rule}, {"not-learning"}, families, experience_kept())
        assert 0 < network.probabilities()[rule] < 1
