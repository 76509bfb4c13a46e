"""A value on its way to the model, and the step that made it, in words short enough for a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torchdx.finding import Site
from torchdx.record import Journey, Step
from torchdx.report.words import number, percent, place

Value = Mapping[str, Any]

PARTS = {"input": "the input", "target": "the target", "other": "the rest"}
"""The parts of a sample, in the order they are shown."""

DONE = {
    "item": "as the dataset gives it",
    "collate": "as it stands in the batch",
    "door": "as the model is given it",
}
"""What is said of a kind of step that has no words of its own."""

ORDERS = {
    "permuted": "axes moved",
    "reinterpreted": "axes renamed, numbers not moved",
    "flipped": "mirrored",
    "channels-reversed": "channels in reverse order",
}
"""What became of the order of the numbers."""


class Mark(NamedTuple):
    """A remark on a step: the words, and the severity in whose colour they are set."""

    words: str
    tone: str


class Row(NamedTuple):
    """A value of a journey: the number and the step that made it; without either, what the journey began with."""

    number: int | None
    step: Step | None
    value: Value


def one_line(words: object) -> str:
    """Words of another program on one line, what no terminal should be sent replaced by a mark."""
    told = " ".join(str(words).split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in told)


def rows_of(journey: Journey, part: str) -> list[Row]:
    """The values on the way to this part of the sample; the one it began with first, where it is known."""
    steps = journey.of(part)
    rows = [Row(number_of(step), step, step.after) for step in steps]
    began = steps[0].before if steps and not steps[0].fact.get("from") else {}
    return [Row(None, None, began), *rows] if began else rows


def number_of(step: Step) -> int | None:
    """The step's place in the journey, where it is told."""
    told = step.fact.get("n")
    return int(told) if isinstance(told, int | float) else None


def did(step: Step | None) -> str:
    """What a step did, in a phrase; empty where nothing but its source tells."""
    if step is None:
        return "what it began with"
    return one_line(step.words or DONE.get(step.kind) or changed(step.change))


def written(step: Step | None) -> str:
    """The step as the program has it: the source, or the name of what was called."""
    if step is None:
        return ""
    return one_line(step.text or ".".join(step.name.split(".")[-2:]))


def spot(site: Site | None, most: int = 200) -> str:
    """path:line, without the folders where that is longer than `most`."""
    where = one_line(place(site).rpartition(":")[0]) if site else ""
    return where if len(where) <= most else f"…/{where.rpartition('/')[2]}"[-most:]


def changed(change: Value) -> str:
    """What was done to the numbers, as measured."""
    parts = []
    if ratios := change.get("resized"):
        parts.append(f"resized to {' × '.join(percent(float(ratio)) for ratio in ratios)}")
    if order := ORDERS.get(change.get("order") or ""):
        parts.append(order)
    scale, shift = change.get("scale"), change.get("shift")
    if scale is not None and scale != 1:
        parts.append(f"times {numbers(scale)}")
    if shift is not None and shift != 0:
        parts.append(f"plus {numbers(shift)}")
    return ", ".join(parts)


def numbers(value: float | Sequence[float]) -> str:
    """A number, or one for each channel."""
    return number(value) if isinstance(value, int | float) else " ".join(number(each) for each in value)


def marks(step: Step | None) -> Iterator[Mark]:
    """What should not be overlooked in a step."""
    if step is None:
        return
    change = step.change
    if step.varies:
        yield Mark("random", "note")
    if change.get("order") == "reinterpreted":
        yield Mark(ORDERS["reinterpreted"], "warning")
    if wrapped := change.get("wrapped"):
        yield Mark(f"{percent(wrapped)} wrapped around", "warning")
    if lost := change.get("lost"):
        yield Mark(f"{percent(lost)} lost their fraction", "note")
    if change.get("resized") and change.get("new_values") and change.get("few"):
        yield Mark(f"{number(change['new_values'])} new values beside {number(change['few'])}", "note")
    if bad := step.after.get("nonfinite"):
        yield Mark(f"{number(bad)} not finite", "error")


def kind_of(value: Value) -> str:
    """What a value is: PIL image RGB, ndarray uint8, Tensor float32, str."""
    name = one_line(value.get("type") or "")
    short = "PIL image" if name.startswith("PIL.") else name.rpartition(".")[2]
    detail = value.get("mode") if value.get("mode") else value.get("dtype")
    return " ".join(filter(None, (short, one_line(detail or ""))))


def shape_of(value: Value) -> str:
    """Its axes and their lengths: HWC 32×32×3; the length of what has no shape."""
    shape = value.get("shape")
    if shape is None:
        return f"{number(value['size'])} long" if value.get("size") is not None else ""
    lengths = "×".join(str(length) for length in shape) or "one number"
    return " ".join(filter(None, (one_line(value.get("layout") or ""), lengths)))


def span_of(value: Value) -> str:
    """From its least to its greatest number, or the value itself in brief where it holds none."""
    low, high = value.get("min"), value.get("max")
    if low is None or high is None:
        return ""
    return number(low) if low == high else f"{number(low)}..{number(high)}"


def spreads_of(value: Value) -> list[str]:
    """Mean and deviation, of each channel where it has some."""
    told = [each for each in value.get("channels") or () if each.get("mean") is not None]
    found = told if len(told) > 1 else [value] if value.get("mean") is not None else []
    if value.get("min") is not None and value.get("min") == value.get("max"):
        return []
    return [spread(each) for each in found]


def spread(measures: Value) -> str:
    """0.485 ± 0.229."""
    mean, deviation = measures.get("mean"), measures.get("std")
    if mean is None:
        return ""
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"
