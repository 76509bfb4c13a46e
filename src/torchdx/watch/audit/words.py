"""What a step did, in one phrase: from what was measured, and for a few well-known calls from how they work."""

from __future__ import annotations

from typing import Any

Value = dict[str, Any]

BYTE = 255.0
CLOSE = 1e-3
"""How near a factor is to 1/255, to 255 or to 1 to be called that; images have at most 256 levels."""

TO_TENSOR = ("ToTensor", "to_tensor")


def words_of(name: str, before: Value | None, after: Value, change: dict[str, Any] | None) -> str:
    """The phrase; where nothing was measured, what came out."""
    if before is None:
        return f"begins as {kind_of(after)}"
    if name.rpartition(".")[2] in TO_TENSOR and "shape" in before:
        return _to_tensor(before, after, change or {})
    told = [*_order(before, after, change or {}), *_numbers(change or {}), *_cut(change or {})]
    if "resized" in (change or {}):
        told.append(f"from {_size(before)} to {_size(after)} pixels")
    if _dtype(before) != _dtype(after) or before.get("mode") != after.get("mode"):
        told.append(f"now {kind_of(after)}")
    if not told and change is None and before.get("shape") != after.get("shape"):
        told.append(f"shape {_shape(before)} to {_shape(after)}" if "shape" in before else f"now {kind_of(after)}")
    return ", ".join(told) or ("the same numbers" if change else "other numbers of the same form")


def kind_of(value: Value) -> str:
    """What a value is: "a picture of mode RGB", "an array of float64", "text"."""
    kind = str(value.get("type", ""))
    if "mode" in value:
        return f"a picture of mode {value['mode']}"
    if "dtype" in value:
        return f"{'a tensor' if 'ensor' in kind else 'an array'} of {value['dtype']}"
    return {"str": "text", "list": "a list of numbers", "tuple": "a list of numbers"}.get(kind, kind)


def _to_tensor(before: Value, after: Value, change: dict[str, Any]) -> str:
    """The six steps of `ToTensor`, and whether this input was scaled, and why."""
    moved = "" if before.get("layout") == after.get("layout") else ", channels moved to the front"
    steps = f"bytes in memory made a tensor of height, width and channels{moved}"
    what = f"mode {before['mode']}" if "mode" in before else str(before.get("dtype"))
    if _is(change.get("scale"), 1 / BYTE):
        return f"{steps}, divided by 255 as it was {what}"
    if _is(change.get("scale"), 1.0):
        return f"{steps}, not divided by 255, as {what} is not scaled"
    return f"{steps}, now {kind_of(after)}"


def _order(before: Value, after: Value, change: dict[str, Any]) -> list[str]:
    axes = f"{before.get('layout')} to {after.get('layout')}"
    return {
        "permuted": [f"axes moved from {axes}"],
        "reinterpreted": [f"axes called {axes} without moving the numbers"],
        "flipped": ["flipped"],
        "channels-reversed": ["channels in reverse order"],
    }.get(str(change.get("order")), [])


def _numbers(change: dict[str, Any]) -> list[str]:
    """What the straight line from old to new numbers amounts to."""
    scale, shift = change.get("scale"), change.get("shift")
    if scale is None or shift is None:
        return []
    scales, shifts = _list(scale), _list(shift)
    if all(abs(one) <= CLOSE * abs(scales[0]) for one in shifts):
        if _is(scale, 1.0):
            return []
        if _is(scale, 1 / BYTE):
            return ["divided by 255"]
        return ["times 255"] if _is(scale, BYTE) else [f"times {_several(scales)}"]
    count = max(len(scales), len(shifts))
    pairs = list(zip(_spread(scales, count), _spread(shifts, count), strict=True))
    means, deviations = [-b / a for a, b in pairs], [1 / a for a, _ in pairs]
    return [f"minus {_several(means)}, divided by {_several(deviations)}"]


def _cut(change: dict[str, Any]) -> list[str]:
    told = ["times 255"] if change.get("factor") == BYTE else []
    if change.get("wrapped"):
        told.append(f"{change['wrapped']:.0%} of the numbers wrapped around")
    if change.get("lost"):
        told.append(f"cut down to whole numbers, which {change['lost']:.0%} were not")
    return told


def _is(scale: Any, wanted: float) -> bool:
    return scale is not None and all(abs(one - wanted) <= CLOSE * wanted for one in _list(scale))


def _list(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]


def _spread(values: list[float], count: int) -> list[float]:
    return values if len(values) == count else values * count


def _several(values: list[float]) -> str:
    rounded = [f"{value:.3g}" for value in values]
    return rounded[0] if len(set(rounded)) == 1 else " ".join(rounded)


def _dtype(value: Value) -> str:
    return str(value.get("dtype"))


def _shape(value: Value) -> str:
    return "×".join(map(str, value.get("shape", ())))


def _size(value: Value) -> str:
    shape, layout = value.get("shape", ()), str(value.get("layout", ""))
    sides = [str(length) for length, axis in zip(shape, layout, strict=False) if axis in "HW"]
    return "×".join(sides)
