"""Statistics, unsaved text on stdin, and checking again as files change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from telling import SICK, Told


def test_statistics_count_rather_than_show(told: Told, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SICK)
    (tmp_path / "other.py").write_text("x = 1\n")
    done = told("check", "--statistics")
    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[:3] == [
        "1  error    TDX102  discarded-to-result",
        "1  error    TDX601  softmax-before-cross-entropy",
        "1  warning  TDX101  unguarded-cuda",
    ]
    assert lines[4] == "3 findings: 2 errors, 1 warning"
    assert lines[5].startswith("2 files read, 1 with findings, ")


def test_statistics_of_nothing(told: Told, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x = 1\n")
    done = told("check", "--statistics")
    assert done.status == 0 and done.out.startswith("0 findings\n1 file read, 0 with findings, ")


def test_statistics_beside_another_report(told: Told, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SICK)
    done = told("check", "--statistics", "--format", "json")
    assert len(done.findings) == 3 and "3 findings: 2 errors, 1 warning" in done.err


# Stdin

NET = "from torch import nn\n\n\nclass Net(nn.Module):\n    def forward(self, x):\n        return x{}\n"
TRAIN = SICK.replace('        x.to("cuda")\n', "").replace("F.softmax(net(x), dim=1)", "Net()(x)")


def test_unsaved_text_is_read_among_the_files_of_its_project(told: Told, tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "net.py").write_text(NET.format(".softmax(dim=1)"))
    (tmp_path / "pkg" / "train.py").write_text("saved, and does not parse\n")
    text = "from net import Net\n" + TRAIN
    done = told("check", "-", "--stdin-name", "pkg/train.py", "--format", "json", stdin=text.encode())
    assert (done.status, done.codes, done.err) == (1, ["TDX601"], "")
    assert done.findings[0]["path"] == "pkg/train.py"


def test_a_file_that_is_not_there_yet(told: Told) -> None:
    done = told("check", "-", "--stdin-name", "new/train.py", "--format", "json", stdin=SICK.encode())
    assert sorted(done.codes) == ["TDX101", "TDX102", "TDX601"]


def test_only_the_file_itself_is_told_of(told: Told, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(SICK)
    (tmp_path / "broken.py").write_text("import torch\n(\n")
    text = "import torch\nimport other\nimport broken\n"
    done = told("check", "-", "--stdin-name", "train.py", stdin=text.encode())
    assert (done.status, done.err) == (0, "")


def test_settings_of_its_place_hold(told: Told, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.torchdx]\nexclude = ['old']\nignore = ['TDX1']\n")
    done = told("check", "-", "--stdin-name", "train.py", "--format", "json", stdin=SICK.encode())
    assert done.codes == ["TDX601"]
    assert told("check", "-", "--stdin-name", "old/train.py", stdin=SICK.encode()).status == 0


def test_text_that_does_not_parse(told: Told) -> None:
    done = told("check", "-", "--stdin-name", "train.py", stdin=b"import torch\nx = (\n")
    assert done.status == 2 and "train.py:2: does not parse" in done.err and done.err.count("\n") == 1


# Watching


def eventually(file: Path, words: str, times: int = 1) -> str:
    """The file's text, once the words are in it so many times."""
    until = time.monotonic() + 60
    while file.read_text().count(words) < times:
        assert time.monotonic() < until, file.read_text()
        time.sleep(0.05)
    return file.read_text()


def test_watch_checks_again_when_a_file_changes(tmp_path: Path) -> None:
    train, out, err = (tmp_path / name for name in ("train.py", "out.txt", "err.txt"))
    train.write_text(SICK)
    with out.open("wb") as stdout, err.open("wb") as stderr:
        command = [sys.executable, "-m", "torchdx", "check", "--watch", "train.py"]
        watching = subprocess.Popen(command, cwd=tmp_path, stdout=stdout, stderr=stderr, env={**os.environ})
        try:
            eventually(err, "Watching 1 file; Ctrl-C ends it.")
            assert "3 findings" in out.read_text()
            train.write_text(SICK + "x = (\n")
            assert "torchdx: train.py:13: does not parse" in eventually(err, "Watching", 2)
            train.write_text(SICK.replace('        x.to("cuda")\n', "") + "# saved again\n")
            eventually(err, "Watching", 3)
            assert "1 finding:" in out.read_text()
            (tmp_path / "pyproject.toml").write_text("[tool.torchdx]\nselect = ['nothing']\n")
            assert "There is no rule, code or family 'nothing'" in eventually(err, "Watching", 4)
            train.unlink()
            assert "train.py" in eventually(err, "Watching", 5)
            watching.send_signal(signal.SIGINT)
            assert watching.wait(20) == 130
        finally:
            watching.kill()
    assert "Traceback" not in err.read_text()


def test_watch_says_once_that_the_last_file_is_gone(tmp_path: Path) -> None:
    train, err = tmp_path / "code" / "train.py", tmp_path / "err.txt"
    train.parent.mkdir()
    train.write_text(SICK)
    with err.open("wb") as stderr:
        command = [sys.executable, "-m", "torchdx", "check", "--watch", "code"]
        watching = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            eventually(err, "Watching 1 file; Ctrl-C ends it.")
            train.unlink()
            eventually(err, "Watching 0 files")
            time.sleep(1)
            train.write_text(SICK)
            eventually(err, "Watching 1 file; Ctrl-C ends it.", 2)
        finally:
            watching.kill()
    assert err.read_text().count("There is no Python file") == 1


@pytest.mark.parametrize("path", ["gone", "empty"])
def test_watching_nothing_is_said_to_be_nothing(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    err = tmp_path / "err.txt"
    with err.open("wb") as stderr:
        command = [sys.executable, "-m", "torchdx", "check", "--watch", path]
        watching = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            eventually(err, "Watching 0 files")
            watching.send_signal(signal.SIGINT)
            assert watching.wait(20) == 130
        finally:
            watching.kill()


# Runs

TRAINING = """\
import torch

torch.manual_seed(0)
net = torch.nn.Linear(8, 3)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(40):
    x = torch.randn(16, 8)
    y = x[:, :3].argmax(dim=1)
    loss = torch.nn.functional.cross_entropy(net(x).softmax(dim=1), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("comment", "table", "told_of", "said"),
    [
        ("", "", True, ""),
        ("  # torchdx: ok TDX601 - on purpose", "", False, ""),
        ("  # torchdx: ok TDX602 - on purpose", "", True, ""),
        ("", "ignore = ['loss']", False, ""),
        ("", "ignore = ['lost']", True, "There is no rule, code or family 'lost'"),
    ],
)
def test_a_run_is_told_of_in_the_same_way(
    told: Told, tmp_path: Path, comment: str, table: str, told_of: bool, said: str
) -> None:
    (tmp_path / "train.py").write_text(TRAINING.replace("y)\n", f"y){comment}\n"))
    (tmp_path / "pyproject.toml").write_text(f"[tool.torchdx]\n{table}\n")
    command = [sys.executable, "-m", "torchdx", "run", "--record", "record", "--strict", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ("TDX601" in done.stderr) == told_of and "TDX00" not in done.stderr
    assert done.returncode == int(told_of) and said in done.stderr
    again = told("report", "record", "--format", "json")
    assert ("TDX601" in again.codes) == told_of and said in again.err


def test_settings_of_a_folder_further_down_are_watched(tmp_path: Path) -> None:
    from torchdx.check import Configuration
    from torchdx.cli.survey import Survey
    from torchdx.cli.watching import files_of

    below = tmp_path / "part" / "src"
    below.mkdir(parents=True)
    (below / "net.py").write_text("import torch\n", encoding="utf-8")
    (tmp_path / "part" / "pyproject.toml").write_text("[tool.torchdx]\n", encoding="utf-8")
    seen = files_of(Survey((str(tmp_path),), Configuration()))
    assert {below / "net.py", tmp_path / "part" / "pyproject.toml"} <= set(seen)
