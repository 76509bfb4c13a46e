"""The healthy zoo: a warning or an error on any of these programs is a false alarm, and fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from patients import examined, told

HERE = Path(__file__).parent
ZOO = sorted([*HERE.glob("healthy/*.py"), *HERE.glob("healthy/*/train.py"), HERE.parent / "examples" / "healthy.py"])


def test_the_zoo_is_full() -> None:
    assert len(ZOO) >= 12


@pytest.mark.parametrize("program", ZOO, ids=lambda path: path.parent.name if path.stem == "train" else path.stem)
def test_healthy_program_raises_no_alarm(program: Path, tmp_path: Path) -> None:
    diagnosis = examined(program, tmp_path)
    alarms = [finding for finding in diagnosis.all_findings() if finding.severity != "note"]
    assert not alarms, told(diagnosis)
    assert diagnosis.verdict.name in ("healthy", "no fault found", "not enough evidence"), diagnosis.verdict
