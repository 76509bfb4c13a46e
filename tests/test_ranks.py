"""Jobs on several ranks: one report, the ranks beside each other, and nothing changed by watching."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from torchdx.exam import examine
from torchdx.record import Fact, Record
from torchdx.record.process import Process
from torchdx.report.text import text

PROGRAM = Path(__file__).parent / "ranks" / "train.py"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def watched(record: Path, *command: str) -> str:
    launching = "import sys; from pathlib import Path; from torchdx.launch import launch, end_as\n"
    launching += "end_as(launch(sys.argv[2:], Path(sys.argv[1]), overhead=1000.0))"
    return run("-c", launching, str(record), *command)


def digests(told: str) -> list[str]:
    return sorted(line for line in told.splitlines() if line.startswith("rank "))


def test_a_job_started_by_torchrun_is_one_healthy_report(tmp_path: Path) -> None:
    bare, seen = run(*TORCHRUN, str(PROGRAM)), watched(tmp_path / "job", *TORCHRUN, str(PROGRAM))
    assert digests(seen) == digests(bare)
    assert len(digests(bare)) == 2
    record = Record.read(tmp_path / "job")
    assert record.job is not None
    assert [process.joined["rank"] for process in record.job.ranks] == [0, 1]
    assert record.process.joined["rank"] == 0
    assert not any(process.all("disarmed") for process in record.processes)
    assert [replicas.ranks for replicas in record.job.replicas] == [(0, 1)]
    assert all(not look.apart and look.shares_gradients for look in record.job.replicas[0].looks)
    diagnosis = examine(None, record)
    assert not diagnosis.findings, text(diagnosis)
    assert "2 ranks" in text(diagnosis)


def test_ranks_are_told_apart_where_the_program_starts_them(tmp_path: Path) -> None:
    seen = watched(tmp_path / "job", str(PROGRAM), "spawn")
    assert len(digests(seen)) == 2
    record = Record.read(tmp_path / "job")
    assert record.job is not None
    assert len(record.job.ranks) == 2


# --- records written by hand


def rank_of(number: int, world: int = 2, started: float = 0.0, steps: int = 40, **changes: Any) -> Process:
    """A rank of a healthy wrapped job, but for what is changed in each of its looks."""
    return Process.of(_facts(number, world, started, steps, changes))


def _facts(number: int, world: int, started: float, steps: int, changes: dict[str, Any]) -> Iterator[Fact]:
    yield {"kind": "process", "version": 1, "started": started}
    yield {"kind": "torch", "version": "2"}
    yield {"kind": "rank", "rank": number, "world": world}
    wrapper = {"group": list(range(world)), "called": True, "syncs": True, "joins": False, "hooked": False}
    for step in (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33):
        row = [1, 1, step, 0.5, 0.1, 7 + step, 0.25, 0.2]
        yield {
            "kind": "replica",
            **{"step": step, "optimizer": 0, "lr": 0.1, "layout": 5, "elements": 32, "sharded": False},
            **{"wrapper": wrapper, "moved": {}, "clip": None, "batch": [number * 100 + step, 0], "norms": []},
            **{"params": [row]},
            **changes,
        }
    yield {"kind": "end", "steps": steps, "t": 1.0, "spent": 0.0}


def rules_found(*processes: Process) -> set[str]:
    found = examine(None, Record(processes=processes)).all_findings()
    return {finding.rule for finding in found if finding.family == "distributed"}


OTHER = [1, 1, 999, -0.5, 0.3, 998, -0.4, 0.3]
"""Other weights and another gradient."""

DRIFTED = [[1, 1, 999, -0.5, 0.3, 8, 0.25, 0.2]]


def test_ranks_that_agree_are_silent() -> None:
    assert rules_found(rank_of(0), rank_of(1)) == set()


def test_wrapped_ranks_with_gradients_of_their_own_are_found() -> None:
    assert "gradients-not-reduced" in rules_found(rank_of(0), rank_of(1, params=[OTHER]))


@pytest.mark.parametrize(
    "changes",
    [
        {"params": [OTHER], "sharded": True},
        {"params": [OTHER], "layout": 6},
        {"params": [OTHER], "wrapper": None},
        {"params": []},
    ],
    ids=["sharded", "other-shapes", "unwrapped", "nothing-measured"],
)
def test_ranks_that_differ_by_design_are_silent(changes: dict[str, Any]) -> None:
    assert rules_found(rank_of(0), rank_of(1, **changes)) == set()


@pytest.mark.parametrize("own", [{"hooked": True}, {"joins": True}])
def test_wrappers_with_ways_of_their_own_are_silent(own: dict[str, bool]) -> None:
    wrapper = {"group": [0, 1], "called": True, "syncs": True, "joins": False, "hooked": False, **own}
    assert rules_found(rank_of(0, wrapper=wrapper), rank_of(1, wrapper=wrapper, params=[OTHER])) == set()


def test_ranks_of_several_groups_are_compared_within_each() -> None:
    def member(number: int, row: list[float]) -> Process:
        group = [0, 1] if number < 2 else [2, 3]
        wrapper = {"group": group, "called": True, "syncs": True, "joins": False, "hooked": False}
        return rank_of(number, world=4, wrapper=wrapper, params=[row])

    alike = [1, 1, 5, 0.5, 0.1, 6, 0.25, 0.2]
    assert rules_found(member(0, alike), member(1, alike), member(2, OTHER), member(3, OTHER)) == set()


def test_processes_without_a_group_are_no_job() -> None:
    plain = [Process.of([{"kind": "process", "rank": n, "world": 2}, {"kind": "torch"}]) for n in (0, 1)]
    assert Record(processes=plain).job is None


def test_a_rank_whose_record_is_missing_leaves_the_others_alone() -> None:
    assert Record(processes=[rank_of(0)]).job is None
    assert rules_found(rank_of(0, world=3), rank_of(2, world=3)) == set()


def test_ranks_out_of_step_are_not_compared() -> None:
    """Rank 0 took steps of its own before, so that equal numbers are not the same step."""
    assert rules_found(rank_of(0, steps=140), rank_of(1, steps=40, params=[OTHER])) == set()


def test_of_a_job_started_twice_one_start_is_looked_at() -> None:
    first = [rank_of(n, started=1.0, steps=10) for n in (0, 1)]
    second = [rank_of(n, started=2.0 + n) for n in (0, 1)]
    job = Record(processes=[*second, *first]).job
    assert job is not None
    assert [process.first("process")["started"] for process in job.ranks] == [2.0, 3.0]


def test_the_start_is_told_from_a_later_drift() -> None:
    """Gradients that are shared prove that the ranks are one model."""

    def process(number: int, apart: range) -> Process:
        facts = list(_facts(number, 2, 0.0, 40, {}))
        for fact in facts:
            if fact["kind"] == "replica" and fact["step"] in apart and number:
                row = fact["params"][0]
                fact["params"][0] = [*row[:2], 12345, -0.5, 0.1, *row[5:]]
        return Process.of(facts)

    assert rules_found(process(0, range(1, 99)), process(1, range(1, 99))) == {"replicas-differ-at-start"}
    assert rules_found(process(0, range(8, 99)), process(1, range(8, 99))) == {"replicas-diverge"}
