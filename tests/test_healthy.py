"""The healthy zoo: a warning or an error on any of these programs is a false alarm, and fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from patients import examined, told

HERE = Path(__file__).parent
ZOO = sorted([*HERE.glob("healthy/*.py"), *HERE.glob("healthy/*/train.py"), HERE.parent / "examples" / "healthy.py"])


def test_the_zoo_is_full() -> None:
    assert len(ZOO) >= 12


def elsewhere(program: Path, folder: Path) -> Path:
    """A copy with all that lies beside it in its own folder: faults in what lies among tests would be mere notes."""
    if program.stem == "train":
        return shutil.copytree(program.parent, folder / program.parent.name) / program.name
    return Path(shutil.copy(program, folder))


@pytest.mark.parametrize("program", ZOO, ids=lambda path: path.parent.name if path.stem == "train" else path.stem)
def test_healthy_program_raises_no_alarm(program: Path, tmp_path: Path) -> None:
    diagnosis = examined(elsewhere(program, tmp_path), tmp_path / "record")
    alarms = [finding for finding in diagnosis.all_findings() if finding.severity != "note"]
    assert not alarms, told(diagnosis)
    assert diagnosis.verdict.name in ("healthy", "no fault found", "not enough evidence"), diagnosis.verdict
