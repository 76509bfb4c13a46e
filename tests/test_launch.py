"""Launching: the command, its environment, its ending, and what every python below it sees."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from torchdx import launch
from torchdx.launch import CannotLaunch, Ending, as_program, environment

PYTHON = sys.executable
LAUNCH = "import sys; from pathlib import Path; from torchdx import launch; "
RUN = LAUNCH + "launch.end_as(launch.launch(sys.argv[2:], Path(sys.argv[1])))"


def run(record: Path, *command: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([PYTHON, "-c", RUN, str(record), *command], capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def story(record: Path) -> dict[str, object]:
    told = json.loads((record / "run.json").read_text())
    assert isinstance(told, dict)
    return told


def wait_for(path: Path) -> None:
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.02)


# --- what is run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["train.py", "--lr", "1"], ["-m", "pkg"], ["-c", "pass"], ["a b/é.py"]])
def test_python_words_get_our_python(command: list[str]) -> None:
    assert as_program(command) == [PYTHON, *command]


@pytest.mark.parametrize("command", [["python", "train.py"], ["bash", "job.sh"], ["torchrun", "x.py"]])
def test_other_commands_stay_as_given(command: list[str]) -> None:
    assert as_program(command) == command


def test_python_text_that_is_not_executable_gets_our_python(tmp_path: Path) -> None:
    script = tmp_path / "train"
    script.write_text("#!/usr/bin/env python3\nprint('ran')\n")
    assert as_program([str(script)]) == [PYTHON, str(script)]
    script.chmod(0o755)
    assert as_program([str(script)]) == [str(script)]


def test_the_environment_gains_four_names_at_most(tmp_path: Path) -> None:
    env = environment({"PATH": "/bin", "TORCHDX_MAX_STEPS": "9"}, tmp_path, 0.05, None)
    ours = {"PYTHONPATH": str(launch.INJECT), "TORCHDX_RECORD": str(tmp_path), "TORCHDX_OVERHEAD": "0.05"}
    assert env == {"PATH": "/bin"} | ours
    env = environment({"PYTHONPATH": "mine"}, tmp_path, 0.02, 7)
    assert env["PYTHONPATH"] == f"{launch.INJECT}{os.pathsep}mine"
    assert env["TORCHDX_MAX_STEPS"] == "7"


# --- what cannot be run ----------------------------------------------------------------------------------------------


def test_a_missing_program_is_one_sentence_and_leaves_no_record(tmp_path: Path) -> None:
    with pytest.raises(CannotLaunch, match=r"^Cannot run no-such-thing: no such program\.$") as caught:
        launch.launch(["no-such-thing"], tmp_path / "record")
    assert caught.value.status == 127
    assert not (tmp_path / "record").exists()


def test_a_file_that_cannot_be_run_is_126(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"\0\1")
    with pytest.raises(CannotLaunch, match="is not executable") as caught:
        launch.launch([str(tmp_path / "data.bin")], tmp_path / "record")
    assert caught.value.status == 126


def test_a_missing_interpreter_is_named_as_such(tmp_path: Path) -> None:
    script = tmp_path / "job"
    script.write_text("#!/no/such/shell\n")
    script.chmod(0o755)
    with pytest.raises(CannotLaunch, match="the interpreter its first line names is missing") as caught:
        launch.launch([str(script)], tmp_path / "record")
    assert caught.value.status == 127


def test_no_command_and_no_room_are_told(tmp_path: Path) -> None:
    with pytest.raises(CannotLaunch, match="no command"):
        launch.launch([], tmp_path / "record")
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotLaunch, match="Cannot write the record"):
        launch.launch(["true"], tmp_path / "file" / "record")


# --- how it ends -----------------------------------------------------------------------------------------------------


def test_status_and_story(tmp_path: Path) -> None:
    ending = launch.launch(["sh", "-c", "exit 3"], tmp_path)
    assert (ending.status, ending.signal) == (3, None)
    assert 0 <= ending.seconds < 20
    told = story(tmp_path)
    assert told["version"] == 1
    assert told["command"] == ["sh", "-c", "exit 3"]
    assert told["cwd"] == str(Path.cwd())
    assert (told["status"], told["signal"], told["started"]) == (3, None, ending.started)


def test_a_killed_command_is_survived_and_told(tmp_path: Path) -> None:
    ending = launch.launch(["sh", "-c", "kill -9 $$"], tmp_path)
    assert (ending.status, ending.signal) == (None, 9)
    assert (story(tmp_path)["status"], story(tmp_path)["signal"]) == (None, 9)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT", "SIGABRT", "SIGSEGV", "SIGUSR1"])
def test_we_end_by_the_same_signal(tmp_path: Path, name: str) -> None:
    number = getattr(signal, name)
    done = run(tmp_path / "record", "sh", "-c", f"kill -{number} $$", cwd=tmp_path)
    assert done.returncode == -number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record"]


def test_a_handled_signal_is_as_before_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    launch.launch(["true"], tmp_path)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


PATIENT = """
import pathlib, signal, sys, time
def hear(number, frame):
    print("heard", signal.Signals(number).name, flush=True)
    sys.exit(5)
for name in sys.argv[2:]:
    signal.signal(getattr(signal, name), hear)
pathlib.Path(sys.argv[1]).touch()
time.sleep(30)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT"])
def test_a_signal_sent_to_us_reaches_the_command(tmp_path: Path, name: str) -> None:
    ready = tmp_path / "ready"
    command = [PYTHON, "-c", RUN, str(tmp_path / "record"), "-c", PATIENT, str(ready), name]
    # A session of its own: no terminal is near that would have sent SIGINT to the command already.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for(ready)
        process.send_signal(getattr(signal, name))
        out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == (f"heard {name}\n", 5)


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    asks = "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    nohup = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {RUN}"
    for code, answer in ((RUN, "False\n"), (nohup, "True\n")):
        command = [PYTHON, "-c", code, str(tmp_path), "-c", asks]
        assert subprocess.run(command, capture_output=True, text=True).stdout == answer


def test_opened_files_are_passed_on(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    code = f"import os; os.write({writer}, b'through')"
    launch.launch(["-c", code], tmp_path)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "through"


def test_a_command_may_remove_its_record(tmp_path: Path) -> None:
    record = tmp_path / "record"
    assert launch.launch(["rm", "-r", str(record)], record).status == 0


def test_ending_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Ending(0, None, 0.0, 0.0).status = 1  # type: ignore[misc]


# --- what a python below sees: a stand-in for torch and for the watch, in a package folder of its own ----------------

TORCH = """
import sys
if "broken" in sys.argv:
    raise OSError("libtorch is broken")
"""
WATCH = """
import os, pathlib, sys
def _begin():
    assert "torch" in sys.modules
    with open(pathlib.Path(os.environ["TORCHDX_RECORD"], "facts"), "a") as facts:
        facts.write("begun\\n")
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with a copy of _inject beside a stand-in torchdx.watch, and a stand-in torch on the path."""
    package = tmp_path / "torchdx"
    shutil.copytree(launch.INJECT, package / "_inject", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in {
        "torchdx/__init__.py": "",
        "torchdx/watch/__init__.py": WATCH,
        "libs/torch/__init__.py": TORCH,
        "libs/torch/nn.py": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "record").mkdir()
    return tmp_path


def env_of(house: Path, *, watched: bool = True, more: str = "") -> dict[str, str]:
    libs = str(house / "libs") + (os.pathsep + more if more else "")
    base = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if not watched:
        return base | {"PYTHONPATH": libs}
    inject = str(house / "torchdx" / "_inject")
    return base | {"PYTHONPATH": inject + os.pathsep + libs, "TORCHDX_RECORD": str(house / "record")}


def say(
    code: str, env: Mapping[str, str], *words: str, python: str = PYTHON, flags: tuple[str, ...] = ()
) -> tuple[str, str, int]:
    done = subprocess.run([python, *flags, "-c", code, *words], capture_output=True, text=True, env=env, cwd="/")
    return done.stdout, done.stderr, done.returncode


def facts(house: Path) -> str:
    path = house / "record" / "facts"
    return path.read_text() if path.exists() else ""


SEEN = """
import sys
print(sys.path, sys.flags, sys.argv, sorted(sys.path_importer_cache))
print([m for m in sorted(sys.modules) if not m.startswith("torchdx")])
def kinds(): return [type(f).__name__ if not isinstance(f, type) else f.__name__ for f in sys.meta_path]
{torch}
print(kinds(), vars(sys.modules["__main__"]).keys())
try: import sitecustomize
except ImportError as e: print(repr(e), e.name)
"""


def without_addresses(said: tuple[str, str, int]) -> list[str]:
    return [re.sub(r"0x[0-9a-f]+", "", str(part)) for part in said]


def test_python_is_as_bare_after_torch(house: Path) -> None:
    code = SEEN.format(torch="import torch; print(torch.__spec__, vars(torch.__loader__))")
    bare, watched = (say(code, env_of(house, watched=w)) for w in (False, True))
    assert without_addresses(watched) == without_addresses(bare)
    assert facts(house) == "begun\n"


@pytest.mark.parametrize("flags", [("-S",), ("-E",), ("-I",), ("-s",), ("-v",)])
def test_python_flags_are_honoured(house: Path, flags: tuple[str, ...]) -> None:
    code = "import sys; print(sys.flags); import importlib.util as u; print(bool(u.find_spec('torch')))"
    bare, watched = (say(code, env_of(house, watched=w), flags=flags) for w in (False, True))
    assert (bare[0], bare[2]) == (watched[0], watched[2])


def test_without_a_record_nothing_waits(house: Path) -> None:
    env = env_of(house)
    del env["TORCHDX_RECORD"]
    code = SEEN.format(torch="")
    assert without_addresses(say(code, env)) == without_addresses(say(code, env_of(house, watched=False)))


@pytest.mark.parametrize(
    "theirs",
    [
        "import sys; sys.here = (__name__, __file__, __spec__.origin, sys.modules[__name__].__file__)",
        "import torch",
        "raise ImportError('of theirs')",
        "import no_such_module",
        "raise ValueError('of theirs')",
        "def (",
    ],
)
def test_their_sitecustomize_runs_as_ever(house: Path, theirs: str) -> None:
    (house / "site").mkdir()
    (house / "site" / "sitecustomize.py").write_text(theirs)
    code = "import sys; print(getattr(sys, 'here', None), 'sitecustomize' in sys.modules, sys.path)"
    bare, watched = (say(code, env_of(house, watched=w, more=str(house / "site"))) for w in (False, True))
    assert bare == watched
    assert facts(house) == ("begun\n" if theirs == "import torch" else "")


def test_their_usercustomize_runs_as_ever(house: Path) -> None:
    (house / "libs" / "usercustomize.py").write_text("import torch, sys; print(sys.path)")
    said = say("print(2)", env_of(house), flags=())
    if not said[0].startswith("["):
        pytest.skip("this python has no user site, so no usercustomize")
    assert said == say("print(2)", env_of(house, watched=False))


def test_asking_for_torch_is_not_importing_it(house: Path) -> None:
    code = "from importlib.util import find_spec as f; print(f('torch').origin, type(f('torch').loader)){}"
    assert say(code.format(""), env_of(house)) == say(code.format(""), env_of(house, watched=False))
    assert facts(house) == ""
    say(code.format("; import torch.nn; import torch, importlib; importlib.reload(torch)"), env_of(house))
    assert facts(house) == "begun\n"


def test_a_torch_that_fails_fails_as_ever_and_may_be_tried_again(house: Path) -> None:
    bare, watched = (say("import torch", env_of(house, watched=w), "broken") for w in (False, True))
    assert bare == watched
    assert watched[2] == 1
    again = "import sys\ntry: import torch\nexcept OSError: sys.argv.clear(); import torch; print('better')"
    assert say(again, env_of(house), "broken") == ("better\n", "", 0)
    assert facts(house) == "begun\n"


def test_no_torch_fails_as_ever(house: Path) -> None:
    shutil.rmtree(house / "libs" / "torch")
    bare, watched = (say("import torch", env_of(house, watched=w), flags=("-S",)) for w in (False, True))
    assert bare == watched


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_are_watched_too(house: Path, method: str) -> None:
    code = f"import multiprocessing as m; m.get_context('{method}').Pool(1).apply(exec, ('import torch',))"
    assert say(code, env_of(house)) == ("", "", 0)
    assert facts(house) == "begun\n"


def test_our_failure_is_told_to_the_record_alone(house: Path) -> None:
    (house / "torchdx" / "watch" / "__init__.py").write_text("def _begin(): raise ValueError('of ours')")
    assert say("import torch; print(1)", env_of(house)) == ("1\n", "", 0)
    [note] = (house / "record").glob("trouble-*.txt")
    assert "ValueError: of ours" in note.read_text()
    note.unlink()
    shutil.rmtree(house / "record")
    assert say("import torch; print(1)", env_of(house)) == ("1\n", "", 0)


def test_an_environment_without_torchdx_is_watched(house: Path) -> None:
    bare_python = Path(sysconfig.get_config_var("BINDIR")) / Path(PYTHON).name
    if sys.prefix == sys.base_prefix or not bare_python.is_file():
        pytest.skip("no python outside this environment")
    code = "import torch, sys; print(sys.modules['torchdx'].__file__, [p for p in sys.path if 'torchdx' in p])"
    out, err, status = say(code, env_of(house), python=str(bare_python))
    assert (out, err, status) == (f"{house}/torchdx/__init__.py []\n", "", 0)
    assert facts(house) == "begun\n"


def test_a_read_only_folder_is_no_trouble(house: Path) -> None:
    env = env_of(house) | {"PYTHONDONTWRITEBYTECODE": ""}
    for folder in (house / "torchdx" / "_inject", house / "torchdx"):
        folder.chmod(0o555)
    try:
        assert say("import torch; print(1)", env) == ("1\n", "", 0)
    finally:
        for folder in (house / "torchdx", house / "torchdx" / "_inject"):
            folder.chmod(0o755)
    assert facts(house) == "begun\n"
