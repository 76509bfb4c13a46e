"""The calibration matrix is sound: every planted fault finds its place, and scores are read as printed."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from torchdx.rules.gradients.vanishing_gradient import SHARE

HERE = Path(__file__).parents[1] / "bench" / "calibration"
sys.path.append(str(HERE))

from faults import KINDS, PLANTED, SCORES  # noqa: E402
from halves import Flip, thresholds  # noqa: E402
from matrix import OURS, UNSEEN, is_worse, score_of, source_of  # noqa: E402


def test_every_fault_can_be_planted_and_leaves_a_program() -> None:
    for fault in PLANTED:
        assert fault.kind in KINDS
        assert fault.program in SCORES
        ast.parse(fault.applied(source_of(fault.program)))


def test_the_matrix_is_wide() -> None:
    programs = [*OURS.glob("*.py"), *UNSEEN.glob("*/*.py")]
    assert {program.stem for program in programs} == set(SCORES)
    assert len(programs) >= 24
    assert len(PLANTED) >= 120
    assert len({fault.kind for fault in PLANTED}) >= 35
    assert len({(fault.program, fault.kind) for fault in PLANTED}) == len(PLANTED)


def test_a_score_is_the_last_number_printed() -> None:
    assert score_of("epoch 3: loss 0.25, accuracy 0.9711\n") == 0.9711
    assert score_of("3: validation -1.5e-3\n") == -0.0015
    assert score_of("no number") is None
    nan = score_of("loss nan\n")
    assert nan is not None
    assert nan != nan


def test_worse_is_clearly_worse() -> None:
    assert is_worse("digits_argparse", 0.90, healthy=0.97)
    assert not is_worse("digits_argparse", 0.969, healthy=0.971)
    assert is_worse("gaussian_head", float("nan"), healthy=-1.3)
    assert is_worse("gaussian_head", -0.9, healthy=-1.3)
    assert not is_worse("gaussian_head", -1.29, healthy=-1.3)
    assert is_worse("dqn_grid", -0.2, healthy=0.945)


def test_a_half_sets_a_threshold_midway_between_what_it_saw_healthy_and_sick() -> None:
    name = "vanishing-gradient.SHARE"  # it speaks where the reading is above
    readings = {"well": 0.04, "ill": 0.64, "ill too": 0.9}
    flipped = {program: {name: Flip(program, reading, when_above=False)} for program, reading in readings.items()}
    told = [
        {"program": program, "kind": None if program == "well" else "x", "truth": ["vanishing-gradient"]}
        for program in readings
    ]
    assert thresholds(told, flipped)[name] == pytest.approx(0.16)


def test_a_half_that_binds_a_threshold_on_one_side_leaves_it() -> None:
    name = "vanishing-gradient.SHARE"
    told = [{"program": "well", "kind": None, "truth": []}]
    set_by = [thresholds(told, {"well": {name: Flip("well", reading, when_above=False)}})[name] for reading in (0.1, 2)]
    assert set_by[0] == SHARE
    assert set_by[1] == pytest.approx(2, rel=1e-3)
    assert set_by[1] > 2
