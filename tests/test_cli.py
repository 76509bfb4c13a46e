"""The command line: what each verb prints, where, and what it ends with."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from torchdx import __version__
from torchdx.cli import VERBS, main
from torchdx.finding import Diagnosis, Finding, Severity, Verdict
from torchdx.rules import all_rules

TORCHDX = [sys.executable, "-m", "torchdx"]

RULE = '''"""Trouble is taken twice.

Seen as two of a thing.
Hurts because 2 > 1.
Helped by removing one.
No fault when there is one.
Sources: none.
"""
code, family, severity = "TDX698", "loss", "warning"
needs = explains = frozenset()


def in_source(program):
    return ()


def sick():
    import torch

    trouble = torch.ones(2)  # TDX698


def healthy():
    import torch

    trouble = torch.ones(1)
'''

TRAINING = """
import torch
torch.manual_seed(0)
net = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(40):
    x = torch.randn(16, 3)
    loss = torch.nn.functional.mse_loss(net(x), x.sum(1, keepdim=True))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"{loss.item():.6f}")
"""

Told = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def tell(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Told:
    """Run the command line in this process and in an empty folder; give status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def told(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return int(end.value.code or 0), out, err

    return told


@pytest.fixture
def rule(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The only rule there is."""
    file = tmp_path_factory.mktemp("rules") / "double_trouble.py"
    file.write_text(RULE)
    spec = importlib.util.spec_from_file_location("double_trouble", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("torchdx.rules.all_rules", lambda: (module,))
    return module


def found(*severities: Severity) -> Diagnosis:
    findings = tuple(Finding(f"a {severity}", severity=severity, code="TDX698") for severity in severities)
    return Diagnosis(Verdict("faults found", "because"), findings)


# --- the whole


def test_version(tell: Told) -> None:
    assert tell("--version") == (0, f"torchdx {__version__}\n", "")


def test_help_lists_every_verb(tell: Told) -> None:
    _, out, _ = tell("--help")
    assert [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()] == list(VERBS)


def test_nothing_asked_is_help(tell: Told) -> None:
    assert tell() == tell("--help")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(tell: Told, verb: str) -> None:
    status, out, _ = tell(verb, "--help")
    assert status == 0 and out.startswith(f"Usage: torchdx {verb} ")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["chek"], "'check'"),
        (["train.py"], "'torchdx run train.py'"),
        (["explain", "duble-trouble"], "'double-trouble'"),
        (["explain", "TDX689"], "'TDX698'"),
        (["run", "--formt", "json", "x.py"], "'--format'"),
    ],
)
def test_a_mistyped_word_gets_a_suggestion(tell: Told, rule: ModuleType, words: list[str], hint: str) -> None:
    status, out, err = tell(*words)
    assert (status, out) == (2, "") and f"Did you mean {hint}" in err


def test_a_reader_who_leaves_is_no_error(rule: ModuleType) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m torchdx rules | true; exit ${{PIPESTATUS[1]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_a_failure_of_ours_is_one_sentence(tell: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("torchdx.exam.whole.examine", fail)
    Path("x.py").write_text("import torch\n", encoding="utf-8")
    status, _, err = tell("check")
    assert status == 70 and err.count("\n") == 1 and "ZeroDivisionError: division by zero" in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(tell: Told, shell: str) -> None:
    status, out, _ = tell("completion", shell)
    assert status == 0 and "_TORCHDX_COMPLETE" in out


def test_completion_of_verbs_and_rules() -> None:
    def complete(*words: str) -> list[str]:
        asked = {"_TORCHDX_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        program = "from torchdx.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True, check=False
        )
        return [line.partition(",")[2] for line in done.stdout.split()]

    assert complete("torchdx", "ch") == ["check"]
    assert complete("torchdx", "explain", "TDX") == [rule.code for rule in all_rules()]


# --- rules, explain, case


def test_rules(tell: Told, rule: ModuleType) -> None:
    heading, line = tell("rules")[1].splitlines()
    assert heading.split() == ["CODE", "RULE", "SEVERITY", "FAMILY", "FAULT"]
    assert line.split("  ")[0] == "TDX698" and line.index("Trouble is taken twice.") == heading.index("FAULT")
    _, out, _ = tell("rules", "--format", "json")
    assert json.loads(out) == [
        {
            "code": "TDX698",
            "rule": "double-trouble",
            "family": "loss",
            "severity": "warning",
            "summary": "Trouble is taken twice.",
            "seen_in": ["source"],
            "treats": False,
        }
    ]


def test_rules_fit_the_terminal(tell: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("torchdx.cli.rules.sys.stdout.isatty", lambda: True)
    lines = tell("rules")[1].splitlines()
    assert max(map(len, lines)) <= 100 and len(lines) > len(all_rules()) + 1


def test_a_code_unlike_any_gets_no_suggestion(tell: Told, rule: ModuleType) -> None:
    assert tell("explain", "TDX999")[2] == "torchdx: There is no rule 'TDX999'. 'torchdx rules' lists them.\n"


@pytest.mark.parametrize("word", ["TDX698", "tdx698", "double-trouble", "Double_Trouble"])
def test_explain(tell: Told, rule: ModuleType, word: str) -> None:
    status, out, err = tell("explain", word)
    assert (status, err) == (0, "")
    assert "TDX698 double-trouble" in out and "removing one" in out and "\x1b" not in out


def test_explain_in_markdown(tell: Told, rule: ModuleType) -> None:
    assert tell("explain", "TDX698", "--format", "markdown")[1].startswith("# Trouble is taken twice.")


def test_case(tell: Told, rule: ModuleType) -> None:
    status, out, _ = tell("case", "double-trouble")
    assert status == 0
    assert "-trouble = torch.ones(2)\n" in out and "+trouble = torch.ones(1)\n" in out


def test_case_run(tell: Told, rule: ModuleType) -> None:
    status, out, err = tell("case", "double-trouble", "--run")
    assert (status, err) == (0, "")
    assert 0 < out.index("--- sick ---") < out.index("--- healthy ---")


# --- check


@pytest.mark.parametrize(
    ("severities", "expected"), [((), 0), (("note",), 0), (("note", "warning"), 1), (("error",), 1)]
)
def test_check_exits_by_the_worst(
    tell: Told, monkeypatch: pytest.MonkeyPatch, severities: tuple[Severity, ...], expected: int
) -> None:
    monkeypatch.setattr("torchdx.exam.whole.examine", lambda *_: found(*severities))
    Path("x.py").write_text("import torch\n", encoding="utf-8")
    status, out, err = tell("check")
    assert (status, err) == (expected, "")
    assert all(f"a {severity}" in out for severity in severities)


def test_check_tells_what_it_could_not_read(tell: Told, tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("import torch\n")
    (tmp_path / "bad.py").write_text("import torch\nx = (\n")
    status, _, err = tell("check", ".", "gone.py")
    assert status == 2
    assert err.splitlines() == [
        "torchdx: bad.py:2: does not parse: '(' was never closed.",
        "torchdx: gone.py: there is no such file.",
    ]


UNREAD = {
    "gone.py": (None, "gone.py: there is no such file."),
    "half.py": (b"def f(:\n", "half.py:1: does not parse: invalid syntax."),
    "bytes.py": (b"x = 1\n\n\ny = '\xff'\n", "bytes.py:4: cannot be decoded: it is not valid utf-8."),
    "coding.py": (b"# coding: klingon\n", "coding.py: cannot be decoded: unknown encoding: klingon."),
    "rot.py": (b"# coding: rot13\n", "rot.py: cannot be decoded: rot13 is no encoding of text."),
}


@pytest.mark.parametrize("name", UNREAD)
def test_no_good_news_of_a_file_that_was_not_read(tell: Told, name: str) -> None:
    content, words = UNREAD[name]
    if content is not None:
        Path(name).write_bytes(content)
    Path("fine.py").write_text("x = 1\n")
    for others, verdict in ([], "The file could not be read."), (["fine.py"], "1 of 2 files could not be read"):
        status, out, err = tell("check", name, *others)
        assert (status, err) == (2, f"torchdx: {words}\n")
        assert "✓" not in out and verdict in out


def test_check_passes_over_what_has_nothing_to_do_with_torch(tell: Told) -> None:
    Path("half.py").write_text("def f(:\n")
    Path("bytes.py").write_bytes(b"y = '\xff'\n")
    assert tell("check", ".")[0] == 0
    Path("bytes.py").write_bytes(b"# torch\ny = '\xff'\n# \n")
    assert (status_and_err := tell("check", "."))[0] == 2 and "bytes.py" in status_and_err[2]


def test_check_wants_python_files(tell: Told, tmp_path: Path) -> None:
    Path("empty").mkdir()
    Path("notes.txt").touch()
    for words, place in (["empty"], "empty"), ([""], "''"), ([], str(tmp_path)), ([".", "gone.py"], str(tmp_path)):
        assert tell("check", *words) == (2, "", f"torchdx: There is no Python file in {place}.\n")


def test_check_reads_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run([*TORCHDX, "check", "-"], input="import torch\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_check_writes_where_it_is_told(tell: Told, tmp_path: Path) -> None:
    (tmp_path / "x.py").touch()
    status, out, err = tell("check", "--format", "json", "--output", "told.json", "--html", "told.html")
    assert (status, out, err) == (0, "", "")
    assert json.loads((tmp_path / "told.json").read_text())["findings"] == []
    assert (tmp_path / "told.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("form", ["json", "sarif"])
def test_check_prints_data(tell: Told, form: str) -> None:
    Path("x.py").touch()
    json.loads(tell("check", "--format", form)[1])


# --- run


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([], ["x.py", "--quiet", "--format", "json"]),
        (["--quiet"], ["x.py", "--strict", "--", "y"]),
        (["--format", "json", "--overhead=0.02", "--quiet", "--"], ["x.py", "-h"]),
        (["--max-steps", "3"], ["-c", "import sys; print(sys.argv[1:])", "--help"]),
        ([], ["-m", "x", "--record"]),
    ],
)
def test_our_options_stop_at_the_first_foreign_word(
    tell: Told, tmp_path: Path, ours: list[str], theirs: list[str]
) -> None:
    (tmp_path / "x.py").write_text("import sys; print(sys.argv[1:])")
    status, out, _ = tell("run", *ours, *theirs)
    after = theirs[1:] if theirs[0] == "x.py" else theirs[2:]
    assert (status, out) == (0, f"{after}\n")


@pytest.mark.parametrize(
    ("program", "expected"),
    [("pass", 0), ("raise SystemExit(3)", 3), ("raise SystemExit('no')", 1), ("import os; os._exit(9)", 9)],
)
def test_the_status_is_the_commands_own(tell: Told, program: str, expected: int) -> None:
    assert tell("run", "-c", program)[0] == expected


def test_the_signal_is_the_commands_own(tmp_path: Path) -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    done = subprocess.run([*TORCHDX, "run", "-c", program], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == -signal.SIGTERM


def test_without_torch_it_says_so(tell: Told) -> None:
    _, out, err = tell("run", "-c", "print(1)")
    assert out == "1\n"
    assert err == "torchdx: Nothing to tell: no Python program under this command imported torch.\n"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise SystemExit(3)", "It ended with exit status 3 before torch was imported."),
        ("import os; os.kill(os.getpid(), 9)", "It was killed by SIGKILL before torch was imported."),
    ],
)
def test_a_program_that_fails_before_torch_is_not_said_to_do_without(tmp_path: Path, program: str, words: str) -> None:
    done = subprocess.run([*TORCHDX, "run", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == f"torchdx: {words}\n"


def test_records_never_clash(tell: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchdx.cli.run.time.strftime", lambda _: "now")
    for _ in range(3):
        tell("run", "--quiet", "-c", "pass")
    names = {folder.name for folder in (tmp_path / "torchdx-runs").iterdir()}
    assert names == {".gitignore", "now-c", "now-c-2", "now-c-3"}


def test_a_record_is_named_after_its_script(tell: Told, tmp_path: Path) -> None:
    (tmp_path / "my train.py").write_text("")
    tell("run", "--quiet", "my train.py")
    (folder,) = (tmp_path / "torchdx-runs").glob("*-my-train")
    assert json.loads((folder / "run.json").read_text())["status"] == 0


def test_a_failed_examination_does_not_change_the_ending(tell: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no idea")

    monkeypatch.setattr("torchdx.exam.examine", fail)
    status, _, err = tell("run", "--strict", "--record", "kept", "-c", "raise SystemExit(5)")
    assert status == 5
    assert err == "torchdx: The examination failed (ValueError: no idea); the record is kept in kept.\n"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A training run's record, and how the run went."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "train.py").write_text(TRAINING)
    command = [*TORCHDX, "run", "--record", "seen", "--format", "json", "--output", "told.json", "train.py"]
    return folder, subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_training_run(record: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = record
    bare = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, bare.stdout)
    assert done.stderr == "torchdx: The record is in seen, the page to look at is seen/report.html.\n"
    assert json.loads((folder / "told.json").read_text())["run"]["steps"] == 40
    assert (folder / "seen" / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_record_is_examined_again(tell: Told, record: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = record
    status, out, err = tell("report", "--format", "json", folder / "seen")
    assert (status, err) == (0, "")
    assert json.loads(out)["run"]["steps"] == 40


def test_a_record_needs_no_torch(record: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = record
    program = (
        "import sys; sys.modules['torch'] = sys.modules['numpy'] = None\n"
        "from torchdx.cli import main; main(['report', 'seen', '--html', 'again.html'])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "40 steps" in done.stdout


def test_strict_fails_on_errors(tell: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.py").write_text("import torch")
    monkeypatch.setattr("torchdx.exam.examine", lambda *_: found("error"))
    status, out, err = tell("run", "--strict", "x.py")
    assert (status, out) == (1, "") and "a error" in err


def test_quiet_prints_nothing(tell: Told, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("import torch")
    assert tell("run", "--quiet", "x.py") == (0, "", "")
    (folder,) = (tmp_path / "torchdx-runs").glob("*-x")
    assert (folder / "report.html").is_file()
