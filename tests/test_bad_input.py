"""Whatever a person types or hands over, the answer is one sentence and a status, never a traceback."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from torchdx.source import Program

PROCESS = {"kind": "process", "version": 1, "pid": 1, "argv": ["x.py"], "cwd": "/", "main": "/x.py"}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a little of everything that can be wrong."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "text").write_text("not a program")
    (tmp_path / "fine.py").write_text("print('ran')\n")
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "facts-1.jsonl").write_text(json.dumps(PROCESS | {"version": 99}) + "\n")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "facts-1.jsonl").write_text('{"kind": "proc')
    return tmp_path


def torchdx(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "torchdx", *words],
        cwd=here,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


REFUSED = [
    ["chek"],
    ["fine.py"],
    ["--nonsense"],
    ["run"],
    ["run", "--"],
    ["run", "--nonsense", "fine.py"],
    ["run", "--overhead", "much", "fine.py"],
    ["run", "--overhead", "200%", "fine.py"],
    ["run", "--overhead", "0", "fine.py"],
    ["run", "--overhead", "nan", "fine.py"],
    ["run", "--max-steps", "0", "fine.py"],
    ["run", "--max-steps", "few", "fine.py"],
    ["run", "--format", "xml", "fine.py"],
    ["run", "--format"],
    ["run", "--record", "full", "fine.py"],
    ["run", "--record", "text", "fine.py"],
    ["run", "--record", "text/below", "fine.py"],
    ["run", "--output", "gone/told.json", "fine.py"],
    ["run", "--html", "empty", "fine.py"],
    ["check", "gone"],
    ["check", "gone.py", "fine.py"],
    ["check", "--format", "xml"],
    ["check", "--output", "gone/told.json"],
    ["report"],
    ["report", "gone"],
    ["report", "fine.py"],
    ["report", "empty"],
    ["report", "newer"],
    ["report", "newer", "empty"],
    ["explain"],
    ["explain", "nonsense"],
    ["explain", ""],
    ["case", "nonsense"],
    ["rules", "--format", "xml"],
    ["completion", "tcsh"],
    ["completion"],
    ["check", "empty"],
    ["check", "full"],
    ["check", ""],
    ["report", "torn"],
]


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_it_is_refused_in_one_sentence(here: Path, words: list[str]) -> None:
    done = torchdx(here, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("torchdx: ") and done.stderr.count("\n") == 1 and done.stderr.endswith((".\n", "?\n"))
    assert "ran" not in done.stdout, "nothing is run before all is well"


NOT_STARTED = [
    (["gone"], 127, "gone: no such program"),
    (["./text"], 126, "./text: it is not executable"),
    (["./empty"], 126, "./empty: it is a folder"),
    (["empty"], 127, "empty: it is a folder"),
    (["text"], 127, "text: this file is no program, and its name does not end in .py"),
    ([""], 127, "a command whose name is empty"),
]


@pytest.mark.parametrize(("words", "status", "why"), NOT_STARTED)
def test_a_command_that_does_not_start_ends_as_in_a_shell(here: Path, words: list[str], status: int, why: str) -> None:
    done = torchdx(here, "run", *words)
    assert done.returncode == status
    assert done.stderr == f"torchdx: Cannot run {why}.\n"


FILES = {
    "half a line": b"import torch\nx = (",
    "null bytes": b"import torch\nx = '\0'\n",
    "bytes of nothing": bytes(range(256)) + b"torch",
    "a false encoding": b"# coding: klingon\nimport torch\n",
    "an encoding that says no place": b"# coding: punycode\nimport torch\n",
    "an encoding of nothing": b"# coding: undefined\nimport torch\n",
    "an encoding that replaces nothing": b"# coding: idna\nimport torch\n",
    "latin-1": "import torch  # \xe9t\xe9\n".encode("latin-1"),
    "a byte order mark": b"\xef\xbb\xbfimport torch\n",
    "carriage returns": b"import torch\rx = 1\r",
    "deep brackets": b"import torch\nx = " + b"(" * 5000 + b")" * 5000,
    "a deep sum": b"import torch\nx = " + b"+".join([b"1"] * 20_000),
    "nothing": b"",
    "python 2": b"import torch\nprint 'hello'\n",
}


@pytest.mark.parametrize("name", FILES)
def test_any_bytes_can_be_checked(here: Path, name: str) -> None:
    (here / "fine.py").write_bytes(FILES[name])
    done = torchdx(here, "check", "fine.py")
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr and "itself failed" not in done.stderr


def test_a_file_may_go_round_in_circles(here: Path) -> None:
    (here / "a.py").write_text("import torch\nfrom b import f\n\n\ndef g():\n    return f()\n\n\nx = g()\n")
    (here / "b.py").write_text("import torch\nfrom a import g\n\n\ndef f():\n    return g()\n\n\nclass C(C): ...\n")
    assert torchdx(here, "check", ".").returncode == 0


def test_long_chains_come_to_an_end(here: Path) -> None:
    lines = ["import torch", "model = torch.nn.Linear(1, 2)", *["model = model.cuda()"] * 2000, "model(x)"]
    (here / "fine.py").write_text("\n".join(lines))
    assert torchdx(here, "check", "--no-cache", "fine.py").returncode in (0, 1)


def test_a_folder_that_is_closed_is_told_of(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "closed").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    program = Program.read([here])
    assert [(problem.path, problem.words) for problem in program.unread] == [
        (str(here / "closed"), "the folder cannot be read")
    ]


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes with names")
def test_what_is_no_ordinary_file_is_not_waited_for(here: Path) -> None:
    os.mkfifo(here / "full" / "pipe.py")
    os.mkfifo(here / "pyproject.toml")
    done = torchdx(here, "check", "full")
    assert done.returncode == 2
    assert done.stderr.endswith("pipe.py: no ordinary file, so not read.\n")


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed")
@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("mkdir gone; cd gone; rmdir ../gone; {} check .", "The working directory is there no more."),
        ("{} check - <&-", "There is nothing to read: stdin is closed."),
    ],
)
def test_a_shell_without_what_is_needed_is_told_so(here: Path, script: str, why: str) -> None:
    line = script.format(
        f"{sys.executable} -P -m torchdx" if sys.version_info >= (3, 11) else f"{sys.executable} -m torchdx"
    )
    done = subprocess.run(line, cwd=here, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"torchdx: {why}\n")


def test_a_damaged_record_is_examined_or_refused(here: Path) -> None:
    facts = [
        PROCESS,
        {"kind": "step", "n": 1, "objective": None, "lr": 0.1, "t": 0.1},
        {"kind": "step"},
        {"kind": "param"},
        {"kind": "nobody knows", "x": [1]},
    ]
    lines = b"\n".join(json.dumps(fact).encode() for fact in facts)
    shuffled = bytearray(lines)
    random.Random(0).shuffle(shuffled)
    for number, content in enumerate([lines, lines[:-5], bytes(shuffled), b"\0" * 100, b'{"kind": 3}\n[]\n', b""]):
        folder = here / f"damaged-{number}"
        folder.mkdir()
        (folder / "facts-1.jsonl").write_bytes(content)
        (folder / "run.json").write_bytes(content[:20])
        done = torchdx(here, "report", str(folder))
        assert "Traceback" not in done.stderr and done.stderr.count("\n") <= 1
        assert done.returncode == 0 or done.stderr.startswith("torchdx: ")
