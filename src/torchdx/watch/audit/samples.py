"""A sample as a dataset gives it: which part of it is the input, which the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from torchdx.watch.audit.numbers import holds_numbers

INPUTS = ("image", "img", "images", "pixel_values", "input_ids", "input", "inputs", "x", "features", "tokens", "text")
TARGETS = ("label", "labels", "target", "targets", "y", "mask", "masks", "class", "gt")
"""What parts of a mapping are called, most telling first."""


def input_of(sample: Any) -> Any:
    """What a model would be given of a sample: its first part, or the one called so; the whole if it has no parts."""
    if isinstance(sample, Mapping):
        named = next((sample[name] for name in INPUTS if name in sample), None)
        return named if named is not None else next(iter(_others(sample)), None)
    if isinstance(sample, list | tuple) and sample and not _is_row(sample):
        return input_of(sample[0]) if isinstance(sample[0], Mapping) else sample[0]
    return sample


def target_of(sample: Any) -> Any:
    """What a model should answer to a sample: its last part, or the one called so; None if it has none."""
    if isinstance(sample, Mapping):
        return next((sample[name] for name in TARGETS if name in sample), None)
    if isinstance(sample, list | tuple) and len(sample) > 1 and not _is_row(sample):
        return target_of(sample[1]) if isinstance(sample[1], Mapping) else sample[1]
    return None


def plain(label: Any) -> Any:
    """A label as a plain number, text or list of numbers; other things as they are."""
    if isinstance(label, Tensor) or holds_numbers(label):
        listed = label.tolist() if hasattr(label, "tolist") else label
        return listed[0] if isinstance(listed, list) and len(listed) == 1 else listed
    item = getattr(label, "item", None)
    return item() if callable(item) and not isinstance(label, Tensor) else label


def _others(sample: Mapping[str, Any]) -> list[Any]:
    return [value for name, value in sample.items() if name not in TARGETS and (holds_numbers(value) or value)]


def _is_row(sample: list[Any] | tuple[Any, ...]) -> bool:
    """Is it one list of numbers, rather than parts? A pair of numbers is parts."""
    return len(sample) > 2 and all(isinstance(part, int | float) for part in sample)
