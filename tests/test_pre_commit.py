"""The hook that this repository offers, run by pre-commit itself on commits of a small project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
NOT_OURS = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "PRE_COMMIT", "VIRTUAL_ENV")
SICK = """import torch
from torch import nn
from torch.nn.functional import cross_entropy

net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
loss = cross_entropy(net(torch.ones(2, 4)), torch.tensor([0, 1]))
"""
HEALTHY = SICK.replace(", nn.Softmax(dim=1)", "")

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command as a person would run it there, with this python's programs first."""
    env = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    env |= {
        "PATH": f"{BIN}{os.pathsep}{env['PATH']}",
        "PRE_COMMIT_HOME": str(folder.parent / "hooks"),
        "COLUMNS": "200",
    }
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "Someone", f"GIT_{who}_EMAIL": "someone@example.org"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def git(folder: Path, *words: str) -> str:
    done = run(folder, "git", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def offered(place: Path, *, whole: bool) -> Path:
    """A repository that offers the hook: of this one, the manifest alone or everything that is installed from it."""
    place.mkdir()
    shutil.copy(HOUSE / ".pre-commit-hooks.yaml", place)
    if whole:
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(HOUSE / name, place)
        shutil.copytree(HOUSE / "src", place / "src", ignore=shutil.ignore_patterns("__pycache__"))
    git(place, "init", "--quiet")
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message", "Offer a hook")
    return place


def project(tmp_path: Path, *, whole: bool = False) -> Path:
    """A project that uses the hook; unless the whole is offered, with the torchdx that is installed here."""
    hooks = offered(tmp_path / "offered", whole=whole)
    place = tmp_path / "project"
    place.mkdir()
    lines = ["repos:", f"  - repo: {hooks.as_uri()}", f"    rev: {git(hooks, 'rev-parse', 'HEAD')}", "    hooks:"]
    lines += ["      - id: torchdx", *([] if whole else ["        language: system"])]
    (place / ".pre-commit-config.yaml").write_text("\n".join(lines) + "\n")
    (place / "train.py").write_text(SICK)
    (place / "healthy.py").write_text(HEALTHY)
    (place / "notes.txt").write_text("net = nn.Softmax()\n")
    git(place, "init", "--quiet")
    git(place, "add", "--all")
    return place


def notebook(code: str) -> str:
    """A notebook of one cell."""
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": code}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_a_commit_is_refused_until_the_fault_is_cured(tmp_path: Path) -> None:
    place = project(tmp_path)
    assert run(place, "pre-commit", "install").returncode == 0
    refused = run(place, "git", "commit", "--message", "Train")
    assert refused.returncode == 1
    assert "torchdx check" in refused.stderr and "Failed" in refused.stderr, refused.stderr
    assert "TDX601" in refused.stderr and "train.py:6:" in refused.stderr
    assert "healthy.py" not in refused.stderr, "nothing is said of the other file"

    (place / "train.py").write_text(HEALTHY)
    git(place, "add", "train.py")
    taken = run(place, "git", "commit", "--message", "Train")
    assert taken.returncode == 0 and "Passed" in taken.stderr, taken.stderr

    (place / "train.ipynb").write_text(notebook(SICK))
    git(place, "add", "train.ipynb")
    refused = run(place, "git", "commit", "--message", "Look at it")
    assert refused.returncode == 1 and "train.ipynb#cell 1:6:" in refused.stderr, refused.stderr

    git(place, "reset", "--quiet", "train.ipynb")
    (place / "notes.txt").write_text("nothing to check\n")
    git(place, "add", "notes.txt")
    assert "Skipped" in run(place, "git", "commit", "--message", "Note").stderr


def test_all_files_are_checked_at_once(tmp_path: Path) -> None:
    """Otherwise a fault across two files would be seen only where they happen to be given to one process."""
    place = project(tmp_path)
    done = run(place, "pre-commit", "run", "--all-files", "--verbose")
    assert done.returncode == 1
    assert done.stdout.count("1 finding") == 1, done.stdout
    assert "exit code: 1" in done.stdout


@pytest.mark.slow
def test_the_hook_installs_itself(tmp_path: Path) -> None:
    place = project(tmp_path, whole=True)
    done = run(place, "pre-commit", "run", "--all-files", "--verbose")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "TDX601" in done.stdout and "train.py:6:" in done.stdout
