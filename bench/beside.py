"""What other observers of training cost beside ours: the same unedited loops under each, in turns with bare runs.

`--python` names an interpreter that has torch, and what of wandb, cockpit-for-pytorch and traincheck is to be measured
(Cockpit 1.0.2 needs setuptools<81 beside it). Each observer is attached as its manual says, and held against a bare
run of the same interpreter; ours against a bare run of our own. What cannot be measured is told with the error it ended
with.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import overhead
from overhead import MEASURES, PATIENTS, cell, measured, ratios
from publish import publish
from torchdx.launch import launch

OBSERVERS = Path(__file__).parent / "observers"
MODELS: Mapping[str, Sequence[str]] = {
    "convnet": ["convnet.py"],
    **{model: overhead.MODELS[model] for model in ("resnet", "gpt", "lstm")},
}
BARE, OURS = "bare", "bare, torchdx's interpreter"
TAUGHT_STEPS, REFERENCE_STEPS, CHECKED_STEPS = 10, 15, 30
"""TrainCheck's are fewer: a traced step takes ten ordinary ones or more. A checked run traces ten, then every tenth."""

ERROR = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt): .+", re.MULTILINE)
COLOURS = re.compile(r"\x1b\[\d*m")


class Fails(Exception):
    """An observed run did not come to its end; the message is one sentence of the error."""


@dataclass(frozen=True)
class Trial:
    """One loop to be run: by which interpreter, how long at most, and where its files may lie."""

    model: str
    steps: int
    python: str
    limit: float
    folder: Path

    @property
    def times(self) -> Path:
        return self.folder / "times.json"

    def program(self, steps: int) -> list[str]:
        """The script and its arguments."""
        script, *more = MODELS[self.model]
        return [str(PATIENTS / script), *more, "--steps", str(steps), "--times", str(self.times)]


@dataclass(frozen=True)
class Arm:
    """One way of running a loop: how, for how many steps, and which bare arm it is held against."""

    run: Callable[[Trial, int], None]
    steps: int | None = None
    bare: str = BARE
    package: str | None = None


def bare(trial: Trial, steps: int) -> None:
    """Run the loop with nothing attached."""
    execute([trial.python, *trial.program(steps)], trial)


def bare_of_ours(trial: Trial, steps: int) -> None:
    """Run the loop with nothing attached, in the interpreter that has torchdx."""
    execute([sys.executable, *trial.program(steps)], trial)


def watched(trial: Trial, steps: int) -> None:
    """Run the loop as `torchdx run` does."""
    record = trial.folder / "record"
    if launch(trial.program(steps), record).status != 0 or not any(record.glob("facts-*.jsonl")):
        raise Fails("it was not watched to its end")


def under(observer: str, how: str) -> Callable[[Trial, int], None]:
    """Run the loop under one of the scripts in `observers`."""

    def run(trial: Trial, steps: int) -> None:
        execute([trial.python, str(OBSERVERS / observer), how, *trial.program(steps)], trial)

    return run


def traced(trial: Trial, steps: int) -> None:
    """Run the loop as TrainCheck's reference, from which it infers what always holds."""
    collect(trial, steps)


def checked(trial: Trial, steps: int) -> None:
    """Run the loop as one that TrainCheck is to check, by what a reference run taught it."""
    invariants = trial.folder.parent / f"{trial.model}-invariants.json"
    if not invariants.exists():
        infer = [trial.python, "-m", "traincheck.infer_engine", "-f", collect(trial, TAUGHT_STEPS)]
        execute([*infer, "-o", str(invariants)], trial)
        trial.times.unlink(missing_ok=True)
    collect(trial, steps, "--invariants", str(invariants))


def collect(trial: Trial, steps: int, *more: str) -> str:
    """`traincheck-collect`, which writes beside the script, so it gets a copy; gives the folder of the trace."""
    script, *arguments = trial.program(steps)
    copy = trial.folder / Path(script).name
    copy.write_text(Path(script).read_text())
    shell = copy.with_suffix(".sh")  # its way to give the script arguments; it puts the name of its own script there
    shell.write_text(f"{shlex.quote(trial.python)} {copy.name} {shlex.join(arguments)}\n")
    trace = str(trial.folder / f"trace-{len(more)}")
    command = [trial.python, "-m", "traincheck.collect_trace", "--pyscript", str(copy), "--shscript", str(shell)]
    execute([*command, "--models-to-track", "model", *more, "--output-dir", trace], trial)
    return trace


ARMS: Mapping[str, Arm] = {
    BARE: Arm(bare),
    "bare again": Arm(bare),
    OURS: Arm(bare_of_ours, bare=OURS),
    "torchdx run": Arm(watched, bare=OURS, package="torchdx"),
    "wandb.watch, every 1,000 (default)": Arm(under("with_wandb.py", "1000"), package="wandb"),
    "wandb.watch, every 100": Arm(under("with_wandb.py", "100"), package="wandb"),
    "wandb.watch, every 10": Arm(under("with_wandb.py", "10"), package="wandb"),
    "Cockpit economy, every 10": Arm(under("with_cockpit.py", "10"), package="cockpit-for-pytorch"),
    "Cockpit economy, every step": Arm(under("with_cockpit.py", "1"), package="cockpit-for-pytorch"),
    "TrainCheck, run to check": Arm(checked, CHECKED_STEPS, package="traincheck"),
    "TrainCheck, reference run": Arm(traced, REFERENCE_STEPS, package="traincheck"),
}


def execute(command: Sequence[str], trial: Trial) -> None:
    """Run a command to its end, and end all it has started if that takes too long."""
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    process = subprocess.Popen(
        command,
        cwd=trial.folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said = process.communicate(timeout=trial.limit)[0]
    except subprocess.TimeoutExpired:
        raise Fails(f"not done in {trial.limit:.0f} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode != 0:
        raise Fails(complaint(said) or f"ended with status {process.returncode}")


def complaint(said: str) -> str:
    """The first sentence of the first error in a program's output, which those after it are consequences of."""
    errors = ERROR.findall(COLOURS.sub("", said))
    return errors[0].split(". ")[0].rstrip(".") if errors else ""


def train(arm: str, model: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Run a training loop in a process of its own, bare or under an observer; give its measures."""
    here = Path(tempfile.mkdtemp(dir=folder))
    trial = Trial(model, options.steps, options.python, options.limit, here)
    ARMS[arm].run(trial, ARMS[arm].steps or options.steps)
    if not trial.times.exists():
        raise Fails("it ended without an error, but before the training did")
    return measured(trial.times)


def compare(
    model: str, options: argparse.Namespace, folder: Path
) -> tuple[list[dict[str, dict[str, float]]], dict[str, str]]:
    """Every arm once a round, forwards and backwards by turns; and why those that failed did."""
    told: list[dict[str, dict[str, float]]] = []
    failed: dict[str, str] = {}
    for turn in range(options.rounds):
        told.append({})
        for arm in [*ARMS][:: -1 if turn % 2 else 1]:
            if arm in failed:
                continue
            print(f"{model}, round {turn + 1} of {options.rounds}: {arm}", file=sys.stderr)
            try:
                told[-1][arm] = train(arm, model, options, folder)
            except Fails as problem:
                failed[arm] = str(problem)
    for arm in ARMS:
        if ARMS[arm].package is None and arm in failed:
            sys.exit(f"The bare {model} does not run: {failed[arm]}.")
    return told, failed


def versions(python: str) -> dict[str, str]:
    """Which release of each package an interpreter has."""
    packages = sorted({"torch", *(arm.package for arm in ARMS.values() if arm.package)} - {"torchdx"})
    ask = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
"""
    told = subprocess.run([python, "-c", ask, *packages], check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in told.splitlines())


def remark(arm: str, told: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """Fewer steps, or other losses than the bare runs', where it is so."""
    if ARMS[arm].steps:
        return f"{ARMS[arm].steps} steps"
    same = all(turn[arm]["loss"] == turn[ARMS[arm].bare]["loss"] for turn in told)
    return "" if same else "does not end with the loss of the bare run"


def row(
    model: str, arm: str, told: Sequence[Mapping[str, Mapping[str, float]]], failed: Mapping[str, str]
) -> tuple[list[str], dict[str, Any]]:
    """An arm's row of the table, and the same for a machine."""
    if arm in failed:
        return [model, arm, *("" for _ in MEASURES), f"fails: {failed[arm]}"], {"fails": failed[arm]}
    compared = {measure: ratios(told, arm, measure, ARMS[arm].bare) for measure in MEASURES}
    told_of = remark(arm, told)
    return [model, arm, *(cell(values) for values in compared.values()), told_of], {**compared, "remark": told_of}


def main() -> None:
    """Measure, print, and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the other observers")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=110, help="ten of warm-up, and a hundred that are measured")
    parser.add_argument("--limit", type=float, default=180, help="seconds after which a run counts as failed")
    parser.add_argument("--models", nargs="*", choices=[*MODELS], default=[*MODELS])
    parser.add_argument("--dry", action="store_true", help="only print the rows")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows: list[list[str]] = []
    results: dict[str, Any] = {}
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            told, failed = compare(model, options, Path(folder))
        done = {arm: row(model, arm, told, failed) for arm in ARMS if arm != ARMS[arm].bare}
        rows += [line for line, _ in done.values()]
        results[model] = {arm: kept for arm, (_, kept) in done.items()}
    if options.dry:
        print(*("\t".join(line) for line in rows), sep="\n")
        return
    header = ["", "/ bare", *MEASURES, ""]
    about = {"rounds": options.rounds, "steps": options.steps, "versions": versions(options.python)}
    publish("beside", {**about, **results}, header, rows)


if __name__ == "__main__":
    main()
