"""A made-up but believable run and its diagnosis, for the tests of reports; `program()` writes the file it is about."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchdx.finding import Diagnosis, Edit, Finding, Fix, NotEnough, Site, Verdict
from torchdx.record import Record

LINES = [
    "import torch",
    "from torch import nn",
    "model = nn.Sequential(nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10))",
    "optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)",
    "for x, y in loader:",
    "\tx = x.to(device) / 255  # über",
    "\tloss = nn.functional.cross_entropy(model(x).softmax(1), y)",
]
LAYERS = (("features.0", "Conv2d"), ("features.1", "ReLU"), ("features.2", "BatchNorm2d"), ("features.3", "ReLU"),
          ("flat", "Flatten"), ("head.0", "Linear"), ("head.1", "Sigmoid"), ("head.2", "Linear"))  # fmt: skip


def program(folder: Path) -> Path:
    """Write the program that the diagnosis is about."""
    path = folder / "train.py"
    path.write_bytes("\n".join([*LINES, ""]).encode())
    return path


def record(steps: int = 300, layers: int = 8, broken_from: int | None = None) -> Record:
    """A run that learns a little, with fading gradients and a sigmoid that saturates."""
    return Record.of(_facts(steps, layers, broken_from or steps + 1))


def _facts(steps: int, layers: int, broken_from: int) -> Iterator[dict[str, Any]]:
    dice = random.Random(0)
    named = [*LAYERS, *((f"more.{k}", "Linear") for k in range(layers - len(LAYERS)))][:layers]
    yield {"kind": "process", "version": 1}
    for k, (name, cls) in enumerate(named):
        yield {"kind": "module", "id": k, "name": name, "cls": cls, "model": 1, "leaf": True}
    for step in range(1, steps + 1):
        lost = step >= broken_from
        objective = math.nan if lost else 2.4 * math.exp(-step / steps) + 0.1 * dice.gauss(0, 1)
        yield {"kind": "step", "n": step, "objective": objective, "lr": 0.1, "t": step * 0.01, "spent": step * 1e-4}
        if step <= 20 or step % max(5, steps // 60) == 0:
            yield _outputs(step, step / steps, named, lost)
            yield {"kind": "gradients", "step": step, "params": {}}
            yield _loss(step, objective)
        if step % max(1, steps // 6) == 0:
            mean = 2.5 * math.exp(-step / steps)
            told = {"first_step": 1, "last_step": step, "batches": 4}
            yield {"kind": "phase", "index": 0, "what": "train", **told, "losses": [{"mean": mean, "error": 0.03}]}
            yield {"kind": "phase", "index": 1, "what": "eval", **told, "losses": [{"mean": mean + 0.2, "error": 0.05}]}
    yield {"kind": "end", "steps": steps, "t": steps * 0.01, "spent": steps * 1e-4}


def _outputs(step: int, passed: float, named: list[tuple[str, str]], lost: bool) -> dict[str, Any]:
    told: dict[str, dict[str, float]] = {}
    for k, (_, cls) in enumerate(named):
        told[str(k)] = {"mean": 0.1, "gradient": math.nan if lost else 10.0 ** (k % 8 - 8)}
        told[str(k)] |= {"flat_sigmoid": 0.2 + 0.7 * passed} if cls == "Sigmoid" else {}
        told[str(k)] |= {"dead": 0.1, "zero": 0.5} if cls == "ReLU" else {}
    return {"kind": "outputs", "step": step, "layers": told}


def _loss(step: int, value: float) -> dict[str, Any]:
    counts = {str(label): 2 + 8 * (label == 3) for label in range(10)}
    given = {"input": {"shape": [32, 10], "like": "probabilities"}, "target": {"shape": [32], "counts": counts}}
    return {"kind": "loss", "fn": "cross_entropy", "step": step, "phase": "train", "value": value, **given}


def diagnosis(path: Path) -> Diagnosis:
    """Five faults, two of them with what they explain."""
    file = str(path)
    text = path.read_bytes() if path.exists() else b""
    start = text.find(b" / 255")
    patch = "--- train.py\n+++ train.py\n@@ -6 +6 @@\n-\tx = x.to(device) / 255  # über\n+\tx = x.to(device)  # über\n"
    saturated = Finding(
        "93 % of the outputs lie on a flat end.", Site(file, 3, 42, 3, 54), "head.1",
        {"flat_share": 0.93, "flat": [0.2, 0.5, 0.93]}, "Use ReLU.", 0.86, "warning", "TDX301",
        "saturated-activation", "activations", ("source", "run"),
    )  # fmt: skip
    fading = Finding(
        "The gradient shrinks 40,000-fold.", None, "features.0", {"ratio": 2.4e-5}, "", 0.8, "warning", "TDX201",
        "vanishing-gradient", "gradients", ("run",),
    )  # fmt: skip
    findings = (
        Finding(
            "The pictures are divided by 255 twice.", Site(file, 6, 6, 6, 24), None,
            {"min": 0.0, "max": 0.0039, "times_scaled": 2}, "Divide once.", 0.99, "error", "TDX502", "double-scaling",
            "data", ("source", "run"), (Fix("Take it away", (Edit(file, start, start + 6, b""),), patch),),
            (saturated, fading),
        ),
        Finding(
            "cross_entropy is given probabilities.", Site(file, 7, 9, 7, 59), "head", {"input": "probabilities"},
            "Return the logits.", 0.97, "error", "TDX601", "softmax-before-cross-entropy", "loss", ("source",),
        ),
        Finding(
            "No optimizer holds 2 parameters of head.0.", Site(file, 4, 13, 4, 59), "head.0",
            {"trainable_share": 0.62, "update": [0.0, 0.0, math.nan]}, "Give it model.parameters().", 0.98, "error",
            "TDX901", "parameter-not-optimised", "loop", ("run",),
        ),
        Finding("This bias is taken away again.", Site(file, 3, 23, 3, 40), severity="note", code="TDX401",
                rule="bias-before-batchnorm", family="normalisation", seen_in=("source",)),
        Finding("Validation runs in training mode.", evidence={"modules": 2, "loss": math.inf}, severity="warning",
                code="TDX402", rule="eval-mode-missing", family="normalisation", cure="Call model.eval()."),
    )  # fmt: skip
    verdict = Verdict(
        "not learning: data", "The training loss stops at 1.52.", {"training_loss": 1.52, "uniform": 2.303}
    )
    lacks = (NotEnough("at least 5 evaluations", "overfitting"), NotEnough("an LSTM", "forget-gate-shut"))
    run = {
        "steps": 300,
        "looked": 76,
        "overhead": 0.015,
        "processes": 1,
        "status": 0,
        "command": ["python", "train.py"],
    }
    return Diagnosis(verdict, findings, lacks, {**run, "seconds": 12.34})
