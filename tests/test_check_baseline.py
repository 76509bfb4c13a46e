"""A baseline leaves out what was there, wherever it moves, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from telling import SICK, Told


@pytest.fixture
def train(tmp_path: Path, told: Told) -> Path:
    file = tmp_path / "train.py"
    file.write_text(SICK)
    assert told("check", "--write-baseline", "known.json").status == 0
    return file


def test_what_is_known_is_left_out_and_counted(told: Told, train: Path) -> None:
    done = told("check", "--baseline", "known.json", "--format", "json")
    assert (done.status, done.codes) == (0, [])
    assert "3 known findings left out." in done.err


def test_lines_may_move(told: Told, train: Path) -> None:
    train.write_text(
        "# new\n\n" + SICK.replace("        ", "            ").replace("    for", "    if 1:\n        for")
    )
    assert told("check", "--baseline", "known.json").status == 0


def test_what_is_new_is_told(told: Told, train: Path) -> None:
    train.write_text(SICK.replace("        loss =", '        y.to("cuda")\n        loss =').replace("x = ", "x = y = "))
    done = told("check", "--baseline", "known.json", "--format", "json")
    assert done.status == 1
    assert [(finding["code"], finding["line"]) for finding in done.findings] == [("TDX102", 9)]


def test_the_same_line_once_more_is_new(told: Told, train: Path) -> None:
    train.write_text(SICK.replace('x.to("cuda")\n', 'x.to("cuda")\n        x.to("cuda")\n'))
    done = told("check", "--baseline", "known.json", "--format", "json", "--select", "TDX102")
    assert done.codes == ["TDX102"]


def test_what_is_gone_is_counted(told: Told, train: Path) -> None:
    train.write_text(SICK.replace('        x.to("cuda")\n', ""))
    assert (
        "1 known finding left out; 2 of the baseline are there no more."
        in told("check", "--baseline", "known.json").err
    )


def test_it_holds_from_any_folder(told: Told, train: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = train.parent / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert told("check", "..", "--baseline", "../known.json").status == 0


def test_it_is_stable(told: Told, train: Path) -> None:
    first = (train.parent / "known.json").read_bytes()
    told("check", "--write-baseline", "known.json")
    assert (train.parent / "known.json").read_bytes() == first
    entries = json.loads(first)["findings"]
    assert entries == sorted(entries, key=lambda entry: list(entry.values())[:4])
    assert {
        "path": "train.py",
        "code": "TDX102",
        "rule": "discarded-to-result",
        "line": 'x.to("cuda")',
        "count": 1,
    } in entries


def test_known_findings_are_not_fixed(told: Told, train: Path) -> None:
    train.write_text(SICK.replace("        loss =", '        y.to("cuda")\n        loss =').replace("x = ", "x = y = "))
    assert told("check", "--baseline", "known.json", "--fix").status == 0
    assert '\n        x.to("cuda")\n        y = y.to("cuda")\n' in train.read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "The baseline known.json cannot be read: No such file or directory."),
        (b"{", "The baseline known.json is not valid JSON."),
        (b"\xff\xfe", "The baseline known.json is not valid JSON."),
        (b"[" * 100_000, "The baseline known.json is not valid JSON."),
        (b"[]", "known.json is no baseline; --write-baseline known.json writes one."),
        (b'{"version": 1, "findings": [{}]}', "known.json is no baseline"),
        (b'{"version": 1, "findings": [{"path": 1, "code": "", "rule": "", "line": ""}]}', "known.json is no baseline"),
        (b'{"version": 99, "findings": []}', "was written by a newer torchdx"),
    ],
)
def test_what_is_no_baseline_is_refused(told: Told, train: Path, content: bytes | None, words: str) -> None:
    file = train.parent / "known.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    done = told("check", "--baseline", "known.json")
    assert done.status == 2 and words in done.err and done.err.count("\n") == 1


def test_a_place_that_cannot_be_written_is_refused(told: Told, train: Path) -> None:
    done = told("check", "--write-baseline", "gone/known.json")
    assert done.status == 2 and "Cannot write gone/known.json" in done.err
