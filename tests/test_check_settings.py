"""Settings in pyproject.toml and on the command line decide what is told, and are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from telling import SICK, Told
from torchdx.check.selection import OWN, codes_of
from torchdx.check.settings import Configuration, Settings
from torchdx.finding import Finding, Site
from torchdx.rules import all_rules, name_of

TOLD = {"TDX101", "TDX102", "TDX601"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "old").mkdir()
    for name in ("train.py", "old/train.py"):
        (tmp_path / name).write_text(SICK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(project: Path, text: str, name: str = "pyproject.toml") -> None:
    (project / name).write_text(f"[project]\nname = 'x'\n\n[tool.torchdx]\n{text}\n")


@pytest.mark.parametrize(
    ("text", "train", "old"),
    [
        ("", TOLD, TOLD),
        ('select = ["TDX6"]', {"TDX601"}, {"TDX601"}),
        ('select = ["tdx102", "loss"]', {"TDX102", "TDX601"}, {"TDX102", "TDX601"}),
        ('ignore = ["softmax_before_cross_entropy"]', {"TDX101", "TDX102"}, {"TDX101", "TDX102"}),
        ('select = ["TDX1"]\nignore = ["TDX101"]', {"TDX102"}, {"TDX102"}),
        ('exclude = ["old"]', TOLD, set()),
        ('exclude = ["./old/*.py"]', TOLD, set()),
        ('exclude = ["**/train.py"]', set(), set()),
        ("[tool.torchdx.per-file-ignores]\n'old/**' = ['device']", TOLD, {"TDX601"}),
        ("[tool.torchdx.per-file-ignores]\n'train.py' = ['TDX']", set(), set()),
        ("severity = {device = 'off', TDX102 = 'note'}", {"TDX102", "TDX601"}, {"TDX102", "TDX601"}),
    ],
)
def test_a_project_chooses_what_it_is_told(
    told: Told, project: Path, text: str, train: set[str], old: set[str]
) -> None:
    table(project, text)
    found = told("check", "--format", "json").findings
    assert {finding["code"] for finding in found if finding["path"] == "train.py"} == train
    assert {finding["code"] for finding in found if finding["path"] == "old/train.py"} == old


def test_the_nearest_table_counts(told: Told, project: Path) -> None:
    table(project, 'select = ["TDX601"]')
    table(project / "old", 'select = ["TDX102"]')
    found = told("check", "--format", "json").findings
    assert {(finding["path"], finding["code"]) for finding in found} == {
        ("train.py", "TDX601"),
        ("old/train.py", "TDX102"),
    }


def test_a_file_without_a_table_of_ours_is_passed_over(told: Told, project: Path) -> None:
    table(project, 'select = ["TDX601"]')
    (project / "old" / "pyproject.toml").write_text("this is = not [ toml")
    assert {finding["code"] for finding in told("check", "old", "--format", "json").findings} == {"TDX601"}


def test_severity_sets_the_exit_status(told: Told, project: Path) -> None:
    table(project, "severity = {TDX1 = 'note', TDX6 = 'note'}")
    done = told("check", "train.py", "--format", "json")
    assert done.status == 0
    assert {finding["severity"] for finding in done.findings} == {"note"}


def test_the_more_exact_severity_counts(told: Told, project: Path) -> None:
    table(project, "severity = {TDX102 = 'error', device = 'note', TDX = 'off'}")
    found = told("check", "train.py", "--format", "json").findings
    assert {finding["code"]: finding["severity"] for finding in found} == {"TDX101": "note", "TDX102": "error"}


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        (["--select", "TDX102"], {"TDX102"}),
        (["--select", "loss,TDX101"], {"TDX101", "TDX601"}),
        (["--select", "loss", "--select", "TDX102"], {"TDX102", "TDX601"}),
        (["--ignore", "device"], set()),
        (["--select", "device", "--ignore", "TDX102"], {"TDX101"}),
    ],
)
def test_the_command_line_wins(told: Told, project: Path, words: list[str], codes: set[str]) -> None:
    table(project, 'ignore = ["loss"]\n[tool.torchdx.severity]\nTDX102 = "off"')
    found = told("check", "train.py", "--format", "json", *words).findings
    assert {finding["code"] for finding in found} == codes


def test_what_is_excluded_is_left_out_though_it_is_named(told: Told, project: Path) -> None:
    table(project, 'exclude = ["old/"]')
    done = told("check", "old/train.py")
    assert done.status == 0
    assert "excludes" in done.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('selct = ["TDX6"]', "did you mean 'select'"),
        ("colour = 1", "it may have"),
        (
            'select = ["TDX999"]',
            "no rule, code or family 'TDX999' (select of [tool.torchdx] in pyproject.toml)",
        ),
        ('select = ["softmax-before-cross-entrop"]', "Did you mean 'softmax-before-cross-entropy'?"),
        ('select = "TDX6"', "must be a list of strings"),
        ("severity = {TDX601 = 'loud'}", "it may be error, warning, note, off"),
        ("severity = 'off'", "must be a table"),
        ("exclude = [1]", "must be a list of strings"),
        ("[tool.torchdx.per-file-ignores]\n'a' = 1", "must be a list of strings"),
        ("select = [", "is not valid TOML"),
        ("x = " + "[" * 5000, "is nested too deeply to be read"),
    ],
)
def test_a_table_that_means_nothing_is_refused(told: Told, project: Path, text: str, words: str) -> None:
    table(project, text)
    done = told("check", "train.py")
    assert done.status == 2
    assert words in done.err
    assert done.err.count("\n") == 1 and done.out == ""


def test_a_table_in_the_wrong_place_is_refused(told: Told, project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool]\ntorchdx = 1\n")
    assert "tool.torchdx is not a table" in told("check", "train.py").err
    (project / "pyproject.toml").write_bytes(b"[tool.torchdx]\nx = '\xff'\n")
    assert "not valid UTF-8" in told("check", "train.py").err


@pytest.mark.parametrize("option", ["--select", "--ignore"])
def test_an_unknown_rule_on_the_command_line_is_refused(told: Told, project: Path, option: str) -> None:
    done = told("check", "train.py", option, "TDX6999")
    assert done.status == 2 and "There is no rule, code or family 'TDX6999'" in done.err


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("a.py", "/p/a.py", True),
        ("a.py", "/p/x/a.py", True),
        ("a.py", "/p/x/ba.py", False),
        ("x/a.py", "/p/y/x/a.py", False),
        ("x/*", "/p/x/y/a.py", True),
        ("*/a.py", "/p/x/y/a.py", False),
        ("**/a.py", "/p/a.py", True),
        ("x/**/a.py", "/p/x/y/z/a.py", True),
        ("x", "/p/y/x/a.py", True),
        ("x.y", "/p/xzy", False),
        ("?.py", "/p/ab.py", False),
        ("x", "/q/x/a.py", True),
    ],
)
def test_patterns(pattern: str, path: str, meant: bool) -> None:
    assert Settings(home="/p", exclude=(pattern,)).excludes(path) is meant


def test_a_finding_without_a_place_has_the_settings_of_here(project: Path) -> None:
    table(project, 'ignore = ["TDX601"]')
    configuration = Configuration()
    assert configuration.judged(Finding("?", code="TDX601")) is None
    assert configuration.judged(Finding("?", Site(str(project / "old" / "x.py"), 1), code="TDX602")) is not None


def test_codes_of_our_own_are_no_rule_s() -> None:
    rules = all_rules()
    assert not set(OWN) & {rule.code for rule in rules}
    assert not set(OWN.values()) & {name_of(rule) for rule in rules}
    assert all(codes_of(code) == codes_of(name) == {code} for code, name in OWN.items())
