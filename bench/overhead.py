"""What watching costs: four training loops, bare and watched in turns, with a bare-to-bare control beside them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from statistics import mean, median
from subprocess import run

from publish import publish
from torchdx.launch import as_program, launch
from torchdx.record import Record

PATIENTS = Path(__file__).parent / "patients"
MODELS: Mapping[str, Sequence[str]] = {
    "resnet": ["resnet.py"],
    "gpt": ["gpt.py"],
    "lstm": ["lstm.py"],
    "gpt, 10x deeper": ["gpt.py", "--depth", "40", "--batch", "2"],
}
STEPS: Mapping[str, int] = {"resnet": 400, "gpt": 450, "lstm": 1400, "gpt, 10x deeper": 200}
"""About half a minute on a core of 2 GHz, as the books are of a whole run, getting ready and first looks included."""
ARMS = ("bare", "watched", "bare again")
WARM_UP = 10
MEASURES: Mapping[str, tuple[str, Callable[[Sequence[float]], float]]] = {
    "mean": ("wall", mean),
    "median": ("wall", median),
    "CPU": ("cpu", mean),
}


def train(model: str, arm: str, steps: int, folder: Path) -> dict[str, float]:
    """Run a training loop in a process of its own, as `torchdx run` would or bare; give its measures."""
    times = folder / "times.json"
    script, *more = MODELS[model]
    command = [str(PATIENTS / script), *more, "--steps", str(steps), "--times", str(times)]
    books = 0.0
    if arm == "watched":
        record = Path(tempfile.mkdtemp(dir=folder))
        if launch(command, record).status != 0 or not any(record.glob("facts-*.jsonl")):
            sys.exit(f"{model} was not watched to its end, so nothing was measured.")
        books = Record.read(record).overhead
    else:
        run(as_program(command), check=True)
    return {**measured(times), "books": books}


def measured(times: Path) -> dict[str, float]:
    """What a patient noted: every measure of its steps after the first ones, and its last loss."""
    told = json.loads(times.read_text())
    taken = {clock: [b - a for a, b in zip(told[clock], told[clock][1:], strict=False)] for clock in ("wall", "cpu")}
    measures = {name: how(taken[clock][WARM_UP:]) for name, (clock, how) in MEASURES.items()}
    return {**measures, "loss": told["loss"]}


def compare(model: str, rounds: int, steps: int, folder: Path) -> list[dict[str, dict[str, float]]]:
    """Every arm once a round, each round in another order."""
    orders = list(permutations(ARMS))
    told = []
    for turn in range(rounds):
        told.append({arm: train(model, arm, steps, folder) for arm in orders[turn * 2 % 6 + turn // 3 % 2]})
        print(f"{model}: round {turn + 1} of {rounds}", file=sys.stderr)
    if len({result["loss"] for turn in told for result in turn.values()}) > 1:
        sys.exit(f"Watched and bare runs of {model} do not end with the same loss: watching changed the training.")
    return told


def ratios(
    told: Sequence[Mapping[str, Mapping[str, float]]], arm: str, measure: str, bare: str = "bare"
) -> list[float]:
    """Round by round, an arm's measure over the bare run's."""
    return [turn[arm][measure] / turn[bare][measure] for turn in told]


def cell(values: Sequence[float]) -> str:
    """A ratio and its spread for a table."""
    return f"{median(values):.3f} ({min(values):.3f} .. {max(values):.3f})"


def kept(shares: Sequence[float]) -> str:
    """The watcher's own account of what it took, in percent of the run, start and end included."""
    return f"{100 * median(shares):.1f} %"


def main() -> None:
    """Measure, print, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="six use every order of the arms once")
    parser.add_argument("--steps", type=int, help="other than the usual, which are half a minute")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other measure the machine's other work
    with tempfile.TemporaryDirectory() as folder:
        told = {model: compare(model, options.rounds, options.steps or STEPS[model], Path(folder)) for model in MODELS}
    arms = {"watched / bare": "watched", "bare / bare": "bare again"}
    results = {
        model: {name: {measure: ratios(rounds, arm, measure) for measure in MEASURES} for name, arm in arms.items()}
        for model, rounds in told.items()
    }
    books = {model: [turn["watched"]["books"] for turn in rounds] for model, rounds in told.items()}
    rows = [
        [
            model,
            name,
            *(cell(values) for values in measures.values()),
            kept(books[model]) if arms[name] == "watched" else "",
        ]
        for model, compared in results.items()
        for name, measures in compared.items()
    ]
    header = ["", "", *MEASURES, "own books"]
    publish(
        "overhead", {"rounds": options.rounds, "steps": options.steps or STEPS, "books": books, **results}, header, rows
    )


if __name__ == "__main__":
    main()
