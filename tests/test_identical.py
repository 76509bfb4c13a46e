"""Watched and bare training end bit for bit the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from patients import left_by
from torchdx.record import Record

PROGRAM = Path(__file__).parent / "identical" / "train.py"
HEALTHY = Path(__file__).parent / "healthy"
STYLES = [
    *("lightning_mlp", "hf_trainer", "accelerate_loop", "ignite_engine", "compiled_mlp", "accumulate_amp", "gan_moons"),
    *("lbfgs_logreg", "manual_sgd", "kfold_wine", "dqn_chain", "finetune_frozen/train", "lora_adapters"),
]
KINDS = ["mlp", "cnn", "lstm", "transformer", "checkpoint", "amp", "compile", "workers"]


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def watched(record: Path, kind: str, overhead: float) -> str:
    launching = "import sys; from pathlib import Path; from torchdx.launch import launch, end_as\n"
    launching += "end_as(launch(sys.argv[3:], Path(sys.argv[1]), overhead=float(sys.argv[2])))"
    return run("-c", launching, str(record), str(overhead), str(PROGRAM), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_bit_identical(kind: str, tmp_path: Path) -> None:
    bare = run(str(PROGRAM), kind)
    # An overhead without bound looks at every step, the most that watching can do to a run.
    assert watched(tmp_path / "all", kind, 1000.0) == bare
    record = Record.read(tmp_path / "all")
    assert record.steps == 40
    assert record.looks == 40
    assert not record.process.all("disarmed")
    assert record.phases("eval")
    if kind != "compile":  # hooks that come and go would make it compile again, so outputs are not looked at
        assert any(layer.looks for layer in record.layers)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_of_training_leaves_the_same_behind(style: str, tmp_path: Path) -> None:
    program = HEALTHY / f"{style}.py"
    bare = left_by(program, None, tmp_path / "bare")
    assert left_by(program, tmp_path / "record", tmp_path / "watched") == bare
    record = Record.read(tmp_path / "record")
    assert record.steps > 0
    assert not record.process.all("disarmed")
