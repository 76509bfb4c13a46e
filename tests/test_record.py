"""Records are read tolerantly, and answer in words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from torchdx.record import Record, Series, UnreadableRecord


def written(folder: Path, *lines: Any, name: str = "facts-1.jsonl") -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (folder / name).write_text(text)
    return folder


def test_a_torn_last_line_and_unknown_kinds_are_passed_over(tmp_path: Path) -> None:
    good = {"kind": "step", "n": 7, "objective": 0.5, "t": 1.0, "spent": 0.01}
    folder = written(tmp_path, {"kind": "process", "version": 1}, {"kind": "from-the-future", "x": 1}, good)
    with (folder / "facts-1.jsonl").open("a") as file:
        file.write('{"kind":"step","n":8,"obj')
    record = Record.read(folder)
    assert record.steps == 7
    assert record.objective.values == (0.5,)


def test_lines_that_are_no_facts_are_passed_over(tmp_path: Path) -> None:
    written(tmp_path, "[]", "3", '"words"', '{"no": "kind"}', "\x00\x00", {"kind": "end", "steps": 3})
    assert Record.read(tmp_path).steps == 3


def test_a_newer_format_is_refused_in_words(tmp_path: Path) -> None:
    written(tmp_path, {"kind": "process", "version": 99})
    with pytest.raises(UnreadableRecord, match="newer torchdx"):
        Record.read(tmp_path)


@pytest.mark.parametrize("make", [lambda p: p / "missing", lambda p: p])
def test_what_is_no_record_is_refused_in_words(tmp_path: Path, make: Any) -> None:
    with pytest.raises(UnreadableRecord):
        Record.read(make(tmp_path))


def test_the_process_that_trained_answers(tmp_path: Path) -> None:
    written(tmp_path, {"kind": "torch"}, name="facts-a.jsonl")
    written(tmp_path, {"kind": "step", "n": 5, "objective": 1.0}, name="facts-b.jsonl")
    record = Record.read(tmp_path)
    assert len(record.processes) == 2
    assert record.steps == 5


def test_label_entropy_and_uniform_guess() -> None:
    look = {"kind": "loss", "step": 1, "fn": "cross_entropy", "phase": "train", "input": {"shape": [8, 4]}}
    record = Record.of([{**look, "target": {"counts": {"0": 6, "1": 2}}}])
    assert record.classes == 4
    assert record.uniform_loss == pytest.approx(math.log(4))
    assert record.label_entropy == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


def test_layers_functional_activations_and_their_order() -> None:
    modules = [
        {"kind": "module", "id": 1, "model": 0, "root": "Net", "name": "", "cls": "Net", "leaf": False, "params": {}},
        {"kind": "module", "id": 2, "model": 0, "root": "Net", "name": "fc1", "cls": "Linear", "params": {"weight": 1}},
        {"kind": "module", "id": 3, "model": 0, "root": "Net", "name": "act", "cls": "Sigmoid", "params": {}},
    ]
    outputs = {"2": {"mean": 0.0}, "2:sigmoid": {"flat_sigmoid": 0.7}, "3": {"flat_sigmoid": 0.9}}
    looks = [{"kind": "outputs", "step": step, "layers": outputs} for step in (1, 2, 3)]
    param = {"kind": "param", "id": 1, "name": "fc1.weight", "shape": [4, 4], "dtype": "float32", "trainable": True}
    record = Record.of([*modules, param, *looks])
    assert [layer.name for layer in record.layers] == ["fc1", "fc1:sigmoid", "act"]
    (inner,) = record.inner_layers("sigmoid")  # the last layer is the output, not an inner one
    assert inner.name == "fc1:sigmoid"
    assert inner.series("flat").lasts(3, above=0.5)
    weight = record.layers[0].parameter("weight")
    assert weight is not None
    assert weight.name == "fc1.weight"


def test_unoptimised_parameters_need_an_optimizer_to_be_missing_from() -> None:
    param = {"kind": "param", "shape": [2], "dtype": "float32", "trainable": True}
    params = [{**param, "id": 1, "name": "a"}, {**param, "id": 2, "name": "b"}]
    assert Record.of(params).unoptimised_parameters() == []
    optimizer = {"kind": "optimizer", "id": 0, "cls": "SGD", "groups": [{"lr": 0.1, "params": [1]}]}
    assert [p.name for p in Record.of([*params, optimizer]).unoptimised_parameters()] == ["b"]


def test_series_answer_questions() -> None:
    series = Series((1, 2, 3, 4, 5), (0.1, 0.9, 0.8, math.nan, 0.95))
    assert series.lasts(2, above=0.5)
    assert not series.lasts(3, above=0.5)
    assert series.finite.lasts(3, above=0.5)
    assert series.first == 0.1
    assert series.highest == 0.95
    assert series.latest(2).steps == (4, 5)
    assert series.share(above=0.5) == pytest.approx(3 / 5)
    assert math.isnan(Series().median)
    assert not Series().lasts(1)
    long = Series(tuple(range(1000)), tuple(map(float, range(1000)))).thinned(10)
    assert len(long) == 10
    assert (long.first, long.last) == (0.0, 999.0)


def test_a_record_can_be_cut_off_after_a_step() -> None:
    facts: list[dict[str, Any]] = [{"kind": "step", "n": n, "objective": 1 / n} for n in range(1, 9)]
    facts += [{"kind": "phase", "index": 0, "last_step": 4}, {"kind": "phase", "index": 1, "last_step": 8}]
    facts += [{"kind": "module", "id": 0}, {"kind": "nonfinite", "step": 7}, {"kind": "nonfinite_line"}]
    record = Record.of([*facts, {"kind": "end", "steps": 8}])
    cut = record.until(4)
    assert (record.steps, cut.steps) == (8, 4)
    assert [len(cut.process.all(kind)) for kind in ("phase", "module", "nonfinite", "nonfinite_line")] == [1, 1, 0, 0]
    assert cut.objective.last == 0.25
