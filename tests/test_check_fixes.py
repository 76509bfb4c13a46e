"""Fixes: shown or applied, byte for byte, and only where they help; nothing is lost on the way to the disk."""

from __future__ import annotations

import ast
import json
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from telling import SICK, Told
from torchdx.check import cure
from torchdx.check.selection import BadSetting
from torchdx.exam import examine
from torchdx.finding import Diagnosis, Edit, Finding, Fix, Site, Verdict
from torchdx.pages import case_source
from torchdx.rules import Rule, SourceRule, TreatableRule, all_rules, name_of
from torchdx.source import Program

SAFE = SICK.replace('x.to("cuda")', 'x = x.to("cuda")').replace("F.softmax(net(x), dim=1)", "net(x)")
ALL = SAFE.replace('"cuda"', '"cuda" if torch.cuda.is_available() else "cpu"')


@pytest.fixture
def train(tmp_path: Path) -> Path:
    file = tmp_path / "train.py"
    file.write_text(SICK)
    return file


def test_diff_prints_all_fixes_and_changes_nothing(told: Told, train: Path) -> None:
    done = told("check", "--diff")
    assert done.status == 1
    assert train.read_text() == SICK
    subprocess.run(["patch", "-p1"], input=done.out.encode(), check=True, cwd=train.parent, capture_output=True)
    assert train.read_text() == ALL
    assert told("check", "--diff") == type(done)(0, "", "")


def test_diff_with_fix_prints_what_fix_would_do(told: Told, train: Path) -> None:
    done = told("check", "--fix", "--diff")
    subprocess.run(["patch", "-p1"], input=done.out.encode(), check=True, cwd=train.parent, capture_output=True)
    assert train.read_text() == SAFE


def test_fix_applies_the_safe_ones_and_tells_of_the_rest(told: Told, train: Path) -> None:
    done = told("check", "--fix", "--format", "json")
    assert train.read_text() == SAFE
    assert (done.status, done.codes) == (1, ["TDX101"])
    assert "Fixed train.py:8:9: TDX102 discarded-to-result: keep the converted tensor." in done.err
    assert "2 faults fixed in 1 file." in done.err
    assert "1 more fault can be fixed with --fix --unsafe; look at --diff first." in done.err


def test_unsafe_applies_all(told: Told, train: Path) -> None:
    done = told("check", "--fix", "--unsafe")
    assert (done.status, train.read_text()) == (0, ALL)
    assert "3 faults fixed in 1 file." in done.err
    assert "There is nothing that can be fixed." in told("check", "--fix", "--unsafe").err


def test_the_report_after_fixing_shows_the_file_as_it_is(told: Told, train: Path) -> None:
    train.write_text(SICK.replace("import torch\n", "import torch\nnet = torch.nn.Linear(1, 1).cuda()\n"))
    assert 'x = x.to("cuda")' in told("check", "--fix").out


def test_only_what_is_asked_for_is_fixed(told: Told, train: Path) -> None:
    told("check", "--fix", "--unsafe", "--select", "TDX601")
    assert train.read_text() == SICK.replace("F.softmax(net(x), dim=1)", "net(x)")


def test_what_is_silenced_is_not_fixed(told: Told, train: Path) -> None:
    text = SICK.replace('x.to("cuda")', 'x.to("cuda")  # torchdx: ok device - a smoke test')
    train.write_text(text)
    told("check", "--fix", "--unsafe")
    assert train.read_text() == text.replace("F.softmax(net(x), dim=1)", "net(x)")


def test_stdin_can_be_shown_its_fixes_and_not_be_written(told: Told) -> None:
    done = told("check", "-", "--diff", "--stdin-name", "train.py", stdin=SICK.encode())
    assert done.status == 1 and "+        x = x.to(" in done.out
    done = told("check", "-", "--fix", stdin=SICK.encode())
    assert done.status == 2 and "--fix needs files, and stdin is none" in done.err


WAYS = [
    ("utf-8", "\n", ""),
    ("utf-8", "\r\n", ""),
    ("utf-8", "\r", ""),
    ("utf-8-sig", "\r\n", ""),
    ("latin-1", "\n", "# -*- coding: latin-1 -*-"),
    ("cp1252", "\r\n", "# coding: cp1252"),
]


def dressed(text: str, seed: int, head: str) -> str:
    """The same program with tabs, comments, odd blanks, form feeds and other letters in it."""
    chance = random.Random(seed)
    lines = [head] if head else []
    for line in text.replace("    ", "\t").splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += chance.choice([[], [], ["# größer ü"], ["   "], ["\f"], [f"{indent}é = 'ß'"]])
        ends = ["", "  # ä", "\t", " "] + ["; ö = 1"] * (not line.endswith(":") and bool(line.strip()))
        lines.append(line + chance.choice(ends))
    return "\n".join(lines) + chance.choice(["", "\n", "\n\n"])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("encoding", "end", "head"), WAYS)
def test_all_else_stays_as_it_was(told: Told, tmp_path: Path, seed: int, encoding: str, end: str, head: str) -> None:
    text = dressed(SICK, seed, head)
    file = tmp_path / "train.py"
    file.write_bytes(text.replace("\n", end).encode(encoding))
    assert told("check", "--fix", "--unsafe").status == 0
    wanted = text.replace('x.to("cuda")', 'x = x.to("cuda" if torch.cuda.is_available() else "cpu")')
    wanted = wanted.replace("F.softmax(net(x), dim=1)", "net(x)")
    assert file.read_bytes() == wanted.replace("\n", end).encode(encoding)


TREATED = [rule for rule in all_rules() if isinstance(rule, TreatableRule) and isinstance(rule, SourceRule)]


@pytest.mark.parametrize("rule", TREATED, ids=name_of)
def test_after_all_fixes_nothing_is_left_of_them(rule: Rule) -> None:
    program = Program.of({"sick.py": case_source(rule, "sick")})
    found = cure.cured(program, examine(program, None), lambda each: examine(each, None), unsafe=True)
    left = [f for f in found.diagnosis.all_findings() if cure.fix_of(f, unsafe=True)]
    had = [f for f in examine(program, None).all_findings() if cure.fix_of(f, unsafe=True)]
    assert not left and bool(found.changed) == bool(had)
    for _, after in found.changed.values():
        ast.parse(after)
    again = cure.cured(found.program, found.diagnosis, lambda each: examine(each, None), unsafe=True)
    assert not again.changed


@pytest.mark.parametrize("rule", TREATED, ids=name_of)
def test_a_safe_fix_is_of_a_proven_fault(rule: Rule) -> None:
    program = Program.of({"sick.py": case_source(rule, "sick")})
    safe = [f for f in examine(program, None).all_findings() if any(fix.safe for fix in f.fixes)]
    assert all(finding.severity == "error" or finding.confidence >= 0.97 for finding in safe)


def test_a_fix_that_does_not_help_is_not_applied() -> None:
    edit = Edit("a.py", 0, 0, b"y = 1\n")

    def told_of(program: Program) -> Diagnosis:
        line = program.files[0].bytes.count(b"\n")
        finding = Finding(f"of line {line}", Site("a.py", line), code="TDX998", fixes=(Fix("try", (edit,)),))
        return Diagnosis(Verdict("faults found", ""), (finding,))

    program = Program.of({"a.py": "x = 1\n"})
    found = cure.cured(program, told_of(program), told_of, unsafe=True)
    assert not found.changed and not found.done


def test_fixes_that_meet_wait_for_each_other() -> None:
    def told_of(program: Program) -> Diagnosis:
        text = program.files[0].bytes
        fixes = {
            old: Edit("a.py", text.index(old), text.index(old) + 3, b"0") for old in (b"a+b", b"b+c") if old in text
        }
        found = (Finding(str(old), Site("a.py", 1), code="TDX998", fixes=(Fix("f", (e,)),)) for old, e in fixes.items())
        return Diagnosis(Verdict("faults found", ""), tuple(found))

    program = Program.of({"a.py": "a+b+c\n"})
    found = cure.cured(program, told_of(program), told_of, unsafe=True)
    assert found.changed == {"a.py": (b"a+b+c\n", b"0+c\n")}


def test_a_notebook_is_fixed_in_its_cell(told: Told, tmp_path: Path) -> None:
    cell = {
        "cell_type": "code",
        "execution_count": 3,
        "metadata": {},
        "outputs": [],
        "source": SICK.splitlines(keepends=True),
    }
    whole = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps(whole, indent=1) + "\n")
    told("check", "--fix", "a.ipynb")
    cell["source"] = SAFE.splitlines(keepends=True)
    assert file.read_text() == json.dumps(whole, indent=1) + "\n"


# On disk


def test_mode_bits_stay(told: Told, train: Path) -> None:
    train.chmod(0o754)
    told("check", "--fix")
    assert stat.S_IMODE(train.stat().st_mode) == 0o754
    assert [path.name for path in train.parent.iterdir()] == ["train.py"]


@pytest.mark.parametrize("folder", [False, True])
def test_a_read_only_file_is_refused(told: Told, train: Path, folder: bool) -> None:
    train.chmod(0o444)
    done = told("check", "--fix")
    assert (done.status, train.read_text()) == (2, SICK)
    assert "train.py is read-only, so it is not written." in done.err and done.out == ""


def test_a_link_is_not_written_through(told: Told, train: Path) -> None:
    other = train.parent / "elsewhere.txt"
    train.rename(other)
    train.symlink_to(other)
    done = told("check", "--fix")
    assert (done.status, other.read_text()) == (2, SICK)
    assert "train.py is a link to" in done.err and train.is_symlink()


def test_a_file_that_changed_meanwhile_is_left_alone(train: Path) -> None:
    with pytest.raises(BadSetting, match="has changed since it was read"):
        cure.write({str(train): (b"other", b"new")})
    assert train.read_text() == SICK


def test_where_one_file_cannot_be_written_none_is(train: Path) -> None:
    other = train.parent / "a.py"
    other.write_text("x\n")
    other.chmod(0o444)
    with pytest.raises(BadSetting, match="read-only"):
        cure.write({str(train): (SICK.encode(), b"new"), str(other): (b"x\n", b"y\n")})
    assert train.read_text() == SICK


@pytest.mark.parametrize(
    "words",
    [
        ["--unsafe"],
        ["--fix", "--watch"],
        ["--diff", "--watch"],
        ["--fix", "--write-baseline", "b.json"],
        ["--watch", "--write-baseline", "b.json"],
        ["--stdin-name", "a.py"],
        ["-", "train.py"],
        ["-", "--watch"],
    ],
)
def test_contradictions_are_refused(told: Told, train: Path, words: list[str]) -> None:
    done = told("check", *words)
    assert done.status == 2 and done.err.count("\n") == 1 and done.out == ""


def test_a_program_may_end_while_it_is_fixed(train: Path) -> None:
    """A reader of the pipe that leaves is no reason for half a file."""
    command = f"{sys.executable} -m torchdx check --fix train.py | true"
    subprocess.run(["bash", "-c", command], cwd=train.parent, check=True, env=dict(os.environ), capture_output=True)
    assert train.read_text() in (SICK, SAFE)
