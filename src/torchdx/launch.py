"""Run the user's command exactly as it would run alone, watched through its environment, and end as it ended."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

INJECT = Path(__file__).absolute().parent / "_inject"
VERSION = 1

OPTIONAL = ("TORCHDX_MAX_STEPS", "TORCHDX_DEEP", "TORCHDX_AUDIT")
"""What the environment says only where it was asked for; what a run around this one asked for is not handed on."""

# Sent to a whole group by the terminal, so the command has had it too; and those sent to one process.
TYPED = [getattr(signal, name) for name in ("SIGINT", "SIGQUIT") if hasattr(signal, name)]
SENT = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]


class CannotLaunch(Exception):
    """The command could not be started; the message is one sentence, `status` what a shell would end with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Ending:
    """How and when the command ended: either `status` or `signal` is a number, and the other is None."""

    status: int | None
    signal: int | None
    started: float
    seconds: float


def launch(
    command: Sequence[str],
    record: Path,
    *,
    overhead: float = 0.02,
    max_steps: int | None = None,
    deep: bool = False,
    audit: bool = False,
) -> Ending:
    """Run the command to its end, with every python below it watched into the folder `record`.

    With `audit`, its data are looked at when it ends, and what it prints goes to stderr, as stdout is the report's.
    """
    started, clock = time.time(), time.monotonic()
    story: dict[str, Any] = {"version": VERSION, "command": [*command], "cwd": _cwd(), "started": started}
    try:
        record = record.absolute()
        record.mkdir(parents=True, exist_ok=True)
        _write(record, story)
    except OSError as problem:
        raise CannotLaunch(f"Cannot write the record to {record}: {problem.strerror}.", 1) from problem
    try:
        watched = environment(os.environ, record, overhead, max_steps, deep, audit)
        code = _run(as_program(command), watched, stdout=sys.stderr.fileno() if audit else None)
    except CannotLaunch:
        with contextlib.suppress(OSError):  # a run that never was leaves no record; a fuller folder stays
            (record / "run.json").unlink()
            record.rmdir()
        raise
    ending = Ending(
        status=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        started=started,
        seconds=time.monotonic() - clock,
    )
    with contextlib.suppress(OSError):  # the command may have removed the folder; its ending is the same
        _write(record, story | {"ended": time.time(), "status": ending.status, "signal": ending.signal})
    return ending


def as_program(command: Sequence[str]) -> list[str]:
    """Put our own python before a python file or python's options; leave any other command as it is."""
    if not command:
        raise CannotLaunch("There is no command to run.", 2)
    first = command[0]
    if first.startswith("-") or first.endswith((".py", ".pyw")) or _is_python_text(Path(first)):
        return [sys.executable, *command]
    return [*command]


def environment(
    base: Mapping[str, str],
    record: Path,
    overhead: float,
    max_steps: int | None,
    deep: bool = False,
    audit: bool = False,
) -> dict[str, str]:
    """Add to the environment what makes every python below the command watched, and nothing else."""
    path = base.get("PYTHONPATH", "")
    ours = {
        "PYTHONPATH": f"{INJECT}{os.pathsep}{path}" if path else str(INJECT),
        "TORCHDX_RECORD": str(record),
        "TORCHDX_OVERHEAD": repr(overhead),
    }
    if max_steps is not None:
        ours["TORCHDX_MAX_STEPS"] = str(max_steps)
    if deep:
        ours["TORCHDX_DEEP"] = "1"
    if audit:
        ours["TORCHDX_AUDIT"] = "1"
    return {name: value for name, value in base.items() if name not in OPTIONAL} | ours


def end_as(ending: Ending) -> NoReturn:
    """End this process as the command ended: with its exit status, or by the same signal."""
    if ending.signal is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        _die_of(ending.signal)
    sys.exit(ending.status if ending.signal is None else 128 + ending.signal)


def _die_of(number: int) -> None:
    """Send ourselves the signal, unhandled; without a second core dump beside the command's own."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not every system has these
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler to set
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _run(program: list[str], env: Mapping[str, str], stdout: int | None = None) -> int:
    """Start the program, pass signals on while it runs, and give its return code (a signal is negative)."""
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        if number in TYPED and _is_foreground():
            return
        if children:
            children[0].send_signal(number)
        else:
            early.append(number)

    with _hearing(hear):
        # close_fds would take away what the shell opened for the command: <(...), 3>log, a jobserver.
        try:
            child = subprocess.Popen(program, env=env, close_fds=False, stdout=stdout)
        except OSError as problem:
            raise _explain(program[0], problem) from problem
        children.append(child)
        for number in early:
            child.send_signal(number)
        return child.wait()


@contextlib.contextmanager
def _hearing(hear: Any) -> Iterator[None]:
    """Hear the signals for a while; those that are ignored stay so, since a command inherits that (nohup)."""
    mine = [*TYPED, *SENT] if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.getsignal(number) for number in mine}
    heard = {number: how for number, how in before.items() if how is not None and how != signal.SIG_IGN}
    try:
        for number in heard:
            signal.signal(number, hear)
        yield
    finally:
        for number, how in heard.items():
            signal.signal(number, how)


def _is_foreground() -> bool:
    """Is our group the one at the terminal, so that what is typed there reaches the command without us?"""
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
    except (AttributeError, OSError):
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _explain(name: str, problem: OSError) -> CannotLaunch:
    """Say in one sentence, and with a shell's exit status, why the program does not start."""
    if not name:
        return CannotLaunch("Cannot run a command whose name is empty.", 127)
    if Path(name).is_dir():
        return CannotLaunch(f"Cannot run {name}: it is a folder.", 126 if isinstance(problem, PermissionError) else 127)
    if isinstance(problem, FileNotFoundError):
        if shutil.which(name):
            return CannotLaunch(f"Cannot run {name}: the interpreter its first line names is missing.", 127)
        if Path(name).is_file():
            return CannotLaunch(f"Cannot run {name}: this file is no program, and its name does not end in .py.", 127)
        return CannotLaunch(f"Cannot run {name}: no such program.", 127)
    if isinstance(problem, PermissionError):
        return CannotLaunch(f"Cannot run {name}: it is not executable.", 126)
    return CannotLaunch(f"Cannot run {name}: {problem.strerror}.", 126)


def _is_python_text(path: Path) -> bool:
    """Is this a file that cannot be executed, but whose first line says it is python?"""
    try:
        if not path.is_file() or os.access(path, os.X_OK):
            return False
        with path.open("rb") as file:
            line = file.readline(200)
    except OSError:
        return False
    return line.startswith(b"#!") and b"python" in line


def _cwd() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:  # removed under our feet; the command may not care
        return ""


def _write(record: Path, story: Mapping[str, Any]) -> None:
    """Write `run.json` so that a reader sees the old one or the new one, whole."""
    draft = record / "run.json.new"
    draft.write_text(json.dumps(story, indent=1) + "\n")
    draft.replace(record / "run.json")
