"""The differential and the verdict."""

from __future__ import annotations

from typing import Any

import pytest

from torchdx.exam.differential import merge, rank
from torchdx.exam.symptoms import course_of
from torchdx.exam.verdict import verdict_of
from torchdx.finding import Finding, Site
from torchdx.record import Record


def finding(rule: str, line: int = 1, **given: Any) -> Finding:
    given = {"severity": "warning", "seen_in": ("run",), "family": "data", **given}
    return Finding(f"{rule} at {line}", Site("train.py", line), rule=rule, **given)


def test_a_fault_seen_from_both_sides_is_one_surer_finding() -> None:
    read = finding("shut", 3, seen_in=("source",), confidence=0.6, severity="note", evidence={"bias": 0})
    measured = finding("shut", 3, confidence=0.8, evidence={"kept": 0.001})
    (one,) = merge([read, measured])
    assert one.seen_in == ("source", "run")
    assert one.confidence == pytest.approx(0.92)
    assert one.severity == "warning"
    assert one.evidence == {"bias": 0, "kept": 0.001}


def test_the_only_finding_of_each_side_is_the_same_fault_wherever_it_shows() -> None:
    read = finding("shut", 3, seen_in=("source",))
    (one,) = merge([read, finding("shut", 40)])
    assert one.site == read.site


def test_two_places_stay_two_findings() -> None:
    found = merge(
        [finding("shut", 3, seen_in=("source",)), finding("shut", 9, seen_in=("source",)), finding("shut", 9)]
    )
    assert [f.site.line for f in found if f.site] == [9, 3]


EXPLAINS = {"raw": {"saturated", "exploding", "not-learning"}, "saturated": {"vanishing", "not-learning"}}


def test_one_cause_with_its_consequences_beneath_it() -> None:
    found = [finding("vanishing"), finding("exploding", severity="error"), finding("saturated"), finding("raw")]
    (cause,) = rank(found, EXPLAINS, {"not-learning"})
    assert cause.rule == "raw"
    assert {f.rule for f in cause.consequences} == {"exploding", "saturated", "vanishing"}
    assert cause.consequences[0].rule == "saturated"  # it explains the symptom too


def test_a_note_explains_nothing_and_comes_last() -> None:
    found = [finding("raw", severity="note"), finding("saturated")]
    assert [f.rule for f in rank(found, EXPLAINS, set())] == ["saturated", "raw"]


def classifier(losses: list[float], **end: Any) -> Record:
    steps = [{"kind": "step", "n": n, "t": n / 10, "spent": 0.0, "objective": loss} for n, loss in enumerate(losses, 1)]
    target = {"counts": {"0": 16, "1": 16}}
    look = {"kind": "loss", "fn": "cross_entropy", "phase": "train", "input": {"shape": [32, 2]}, "target": target}
    return Record.of([{**look, "step": 1, "value": losses[0]}, *steps, *([end] if end else [])])


def judged(record: Record, *findings: Finding) -> str:
    return verdict_of(record, course_of(record), findings).name


def test_verdicts_follow_the_guide() -> None:
    falling = [0.7 * 0.97**k for k in range(100)]
    assert judged(classifier(falling)) == "healthy"
    assert judged(classifier([0.7] * 100)) == "not learning"
    assert judged(classifier([0.7] * 100), finding("x", family="schedules")) == "not learning: optimisation"
    assert judged(classifier([0.7] * 100), finding("x", family="data")) == "not learning: data"
    assert judged(classifier([0.7] * 5)) == "not enough evidence"
    assert judged(classifier([*falling, float("nan")])) == "diverged"
    assert judged(classifier([*falling[:50], *[5.0] * 50])) == "diverged"
    assert judged(classifier(falling), finding("overfitting", family="generalisation")) == "overfitting"
    assert judged(classifier(falling), finding("x", family="loss")) == "impaired: loss"
    assert judged(Record()) == "not enough evidence"


def evaluated(train: list[float], validation: list[float]) -> Record:
    facts = [fact for fact in classifier(train).process.facts.values() for fact in fact]
    per = len(train) // len(validation)
    for k, value in enumerate(validation):
        for what, mean in (("train", sum(train[k * per : (k + 1) * per]) / per), ("eval", value)):
            losses = [{"fn": "cross_entropy", "site": None, "batches": 1, "mean": mean, "error": 0.01}]
            at = {"first_step": k * per, "last_step": (k + 1) * per}
            facts.append({"kind": "phase", "index": k, "what": what, "batches": 1, **at, "losses": losses})
    return Record.of(facts)


def test_a_gap_to_validation_is_not_called_healthy() -> None:
    falling = [0.7 * 0.96**k for k in range(100)]
    assert judged(evaluated(falling, [0.6, 0.4, 0.2, 0.1, 0.05])) == "healthy"
    assert judged(evaluated(falling, [0.75, 0.72, 0.71, 0.70, 0.70])) == "not generalising: overfitting or mismatch"
    assert judged(evaluated(falling, [0.6, 0.2, 0.4, 0.6, 0.8])) == "overfitting"


def test_a_run_that_learns_nothing_is_held_against_one_batch_learnt_by_heart() -> None:
    def said(best: float, *findings: Finding) -> str:
        told = {"kind": "one_batch", "constant": 0.7, "initial": {"best": best}}
        record = classifier([0.7] * 100, **told)
        return verdict_of(record, course_of(record), findings).why

    assert "the model can" in said(0.01)
    assert "by heart" not in said(0.5)
    assert "could not even" in said(0.69, finding("cannot-fit-one-batch", family="activations"))


def test_notes_do_not_spoil_a_healthy_verdict() -> None:
    falling = [0.7 * 0.97**k for k in range(100)]
    assert judged(classifier(falling), finding("x", severity="note")) == "healthy"


def test_the_verdict_without_a_run_speaks_of_the_source() -> None:
    course = course_of(Record())
    assert verdict_of(None, course, []).name == "no fault found"
    assert verdict_of(None, course, [finding("x")]).name == "faults found"
