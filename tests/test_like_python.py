"""Every script of like_python/ says the same and ends the same under python and under torchdx.

A script is run alone and launched, in the same folder; stdout, stderr and the status, or signal, must be equal byte
for byte. Comments at its head say how it is run, where that is not just `python SCRIPT`:

    # args: WORDS          words after the script
    # run: WORDS           the whole command; {script} is its path, {text} what it says
    # stdin: TEXT          what it reads, with \\n for an end of line
    # env: NAME=VALUE      a variable; a path is from this folder
    # copied to: PATH      where it is run from, under a folder of its own
    # drop: torch frames   frames of torch's own are left out of tracebacks before they are compared
"""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "like_python"
SCRIPTS = sorted(HERE.glob("*.py"))
HEADS = ("args", "run", "stdin", "env", "copied to", "drop")
LAUNCH = (
    "import sys; from pathlib import Path; from torchdx.launch import end_as, launch; "
    "end_as(launch(sys.argv[2:], Path(sys.argv[1])))"
)


@dataclass(frozen=True)
class Said:
    """What a run wrote and how it ended."""

    out: str
    err: str
    status: int


@dataclass(frozen=True)
class Pair:
    """The two runs of one script, and what was told of the second in its record."""

    bare: Said
    watched: Said
    record: dict[str, str]


def heads(script: Path) -> dict[str, str]:
    """Read the comments at the head of a script."""
    found = {}
    for line in script.read_text().splitlines():
        match = re.match(r"# ([a-z ]+): (.*)", line)
        if not match:
            break
        found[match[1]] = match[2]
    assert set(found) <= set(HEADS), f"{script.name}: unknown comment at its head"
    return found


def run_both(script: Path) -> Pair:
    """Run a script alone, then launched."""
    head = heads(script)
    with tempfile.TemporaryDirectory() as folder:
        path = script.name
        if "copied to" in head:
            path = str(Path(folder, head["copied to"]))
            Path(path).parent.mkdir(parents=True)
            shutil.copy(script, path)
        words = shlex.split(head.get("run", "{script}") + " " + head.get("args", ""))
        command = [{"{script}": path, "{text}": script.read_text()}.get(word, word) for word in words]
        record = Path(folder, "record")
        shell = not command[0].startswith("-") and not command[0].endswith(".py")
        bare = say(command if shell else [sys.executable, *command], head)
        watched = say([sys.executable, "-I", "-c", LAUNCH, str(record), *command], head)
        return Pair(bare, watched, {file.name: file.read_text() for file in record.iterdir() if file.is_file()})


def say(command: list[str], head: dict[str, str]) -> Said:
    """Run a command, and take down what it says."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env.pop("PYTHONPATH", None)
    if "env" in head:
        name, _, value = head["env"].partition("=")
        env[name] = value
    stdin = head.get("stdin", "").replace("\\n", "\n")
    done = subprocess.run(command, cwd=HERE, env=env, input=stdin.encode(), capture_output=True, timeout=120)
    out, err = (text.decode(errors="backslashreplace") for text in (done.stdout, done.stderr))
    return Said(out, without_torch_frames(err) if "drop" in head else err, done.returncode)


def without_torch_frames(text: str) -> str:
    """Leave torch's own frames, with their lines and marks, out of a traceback."""
    return re.sub(r'  File "[^"]*/torch/[^"]*", line .*\n(?:    .*\n)*', "", text)


@pytest.fixture(scope="module")
def pairs(request: pytest.FixtureRequest) -> Iterator[dict[str, "Future[Pair]"]]:
    """Both runs of every script that is asked for, a few scripts at a time."""
    names = {item.callspec.params["script"] for item in request.session.items if is_comparison(item)}
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        yield {script.name: pool.submit(run_both, script) for script in SCRIPTS if script in names}
        pool.shutdown(cancel_futures=True)


def is_comparison(item: object) -> bool:
    return getattr(item, "originalname", "") == "test_says_and_ends_the_same"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_says_and_ends_the_same(script: Path, pairs: dict[str, "Future[Pair]"]) -> None:
    pair = pairs[script.name].result()
    assert pair.watched.out == pair.bare.out
    assert pair.watched.err == pair.bare.err
    assert pair.watched.status == pair.bare.status
    story = json.loads(pair.record["run.json"])
    assert pair.bare.status == (story["status"] if story["signal"] is None else -story["signal"])
    if is_watched(script):
        assert any(name.startswith("facts") for name in pair.record), "compared, but not watched"
    assert {name: text for name, text in pair.record.items() if name.startswith("trouble")} == {}


def is_watched(script: Path) -> bool:
    """Does the script itself import torch?"""
    return re.search("^import torch", script.read_text(), re.MULTILINE) is not None


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_says_what_it_checks(script: Path) -> None:
    heads(script)
    assert ast.get_docstring(ast.parse(script.read_text())), f"{script.name} does not say what it checks"


def test_there_are_enough() -> None:
    assert len(SCRIPTS) >= 24


def test_frames_of_torch_can_be_left_out() -> None:
    mine = '  File "train.py", line 1, in <module>\n    go()\n'
    theirs = '  File "/x/torch/nn/module.py", line 9, in inner\n    call()\n    ^^^^^^\n'
    assert without_torch_frames(mine + theirs + mine + "ValueError: no\n") == mine + mine + "ValueError: no\n"
