"""How weights move, and how far training got, told from facts written by hand."""

from __future__ import annotations

import math
from typing import Any

from torchdx.record import Record
from torchdx.source import Program
from torchdx.source.written import number_written


def facts(gradients: list[dict[int, list[float]]], losses: list[float]) -> list[dict[str, Any]]:
    """A net of two 2 x 2 weights and a bias under one optimizer."""
    shapes = {1: [2, 2], 2: [2], 3: [2, 2]}
    written: list[dict[str, Any]] = [
        {"kind": "module", "id": 1, "model": 0, "name": "", "cls": "Net", "params": {"a": 1, "b": 2, "c": 3}}
    ]
    for number, shape in shapes.items():
        told = {"shape": shape, "dtype": "float32", "trainable": True, "initial": {"std": 1.0}, "model": 0}
        written.append({"kind": "param", "id": number, "name": "abc"[number - 1], **told})
    written.append({"kind": "optimizer", "id": 0, "cls": "SGD", "groups": [{"lr": 0.1, "params": [1, 2, 3]}]})
    for n, loss in enumerate(losses, 1):
        written.append({"kind": "step", "n": n, "optimizer": 0, "objective": loss})
    for n, rows in enumerate(gradients, 1):
        params = {str(k): row for k, row in rows.items()}
        written.append({"kind": "gradients", "step": n, "optimizer": 0, "norm": 1.0, "params": params})
    return written


def test_movement_leaves_biases_out() -> None:
    look = {1: [0.1, 1.0, 0.01], 2: [9.0, 0.1, 9.0], 3: [0.4, 2.0, 0.06]}
    record = Record.of(facts([look], [2.0]))
    (movement,) = record.movements
    assert [weight.name for weight in movement.weights] == ["a", "c"]
    assert math.isclose(movement.ratio.first, 0.02)
    assert math.isclose(movement.spread.first, 0.25)
    assert math.isclose(movement.pull.first, (0.1 * 1.0 * 4 + 0.4 * 2.0 * 4) / 2.0)


def test_looks_that_are_not_finite_are_passed_over() -> None:
    good, bad = {1: [0.1, 1.0, 0.01], 3: [0.4, 2.0, 0.06]}, {1: [math.nan, 1.0, math.nan], 3: [0.4, 2.0, 0.06]}
    (movement,) = Record.of(facts([good, bad], [2.0, 2.0])).movements
    assert movement.ratio.steps == movement.spread.steps == (1,)


def test_spikes_stand_out_from_the_median_before() -> None:
    written = facts([{1: [0.1, 1.0, 0.01]}] * 5, [2.0] * 5)
    written[-1]["norm"] = 30.0
    (movement,) = Record.of(written).movements
    assert movement.spikes().highest == 30.0


def loss_fact(step: int, value: float) -> dict[str, Any]:
    target = {"counts": {"0": 8, "1": 8}}
    return {
        **{"kind": "loss", "step": step, "fn": "cross_entropy", "phase": "train", "value": value},
        **{"input": {"shape": [16, 2]}, "target": target},
    }


def test_prior_follows_the_scale_that_backward_sees() -> None:
    steps = [{"kind": "step", "n": n, "optimizer": 0, "objective": 0.7 / 4} for n in range(1, 40)]
    record = Record.of([*steps, *(loss_fact(n, 0.7) for n in range(1, 5))])
    assert record.progress.prior is not None
    assert math.isclose(record.progress.prior, math.log(2) / 4)
    assert abs(record.progress.gain) < 0.02


def test_prior_of_a_sum_counts_its_terms() -> None:
    told = loss_fact(1, 16 * 0.7) | {"options": {"reduction": "sum"}}
    told["target"] = told["target"] | {"shape": [16]}
    record = Record.of([{"kind": "step", "n": 1, "optimizer": 0, "objective": 16 * 0.7}, told])
    assert record.progress.prior is not None
    assert math.isclose(record.progress.prior, 16 * math.log(2))


def test_gain_of_a_loss_without_scale_is_unknown() -> None:
    record = Record.of([{"kind": "step", "n": n, "optimizer": 0, "objective": -float(n)} for n in range(1, 40)])
    assert math.isnan(record.progress.gain)


def written_at(source: str, value: float) -> int | None:
    program = Program.of({"train.py": source})
    call = next(program.calls("torch.optim.SGD"))
    given = call.argument(1, "lr")
    assert given is not None
    found = number_written(given, value)
    return found[1].lineno if found else None


def test_where_a_rate_is_written() -> None:
    head = "import torch\n"
    make = "torch.optim.SGD(p, lr={})\n"
    assert written_at(head + make.format("0.5"), 0.5) == 2
    assert written_at(head + make.format("0.5"), 0.1) is None
    assert written_at(head + "rate = 0.5\n" + make.format("rate"), 0.5) == 2
    assert written_at(head + "cfg = {'lr': 0.5}\n" + make.format("cfg['lr']"), 0.5) == 2
    assert written_at(head + "class C:\n    lr: float = 0.5\n" + make.format("C.lr"), 0.5) == 3
    assert written_at(head + "def f(p, lr=0.5):\n    return " + make.format("lr"), 0.5) == 2
    option = "a.add_argument('--lr', type=float, default=0.5)\n"
    assert written_at(head + option + make.format("args.lr"), 0.5) == 2
    assert written_at(head + "lr = 0.5\nx = dict(lr=0.5)\n" + make.format("lr"), 0.5) is None
