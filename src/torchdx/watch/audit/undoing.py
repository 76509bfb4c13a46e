"""Pictures as a model receives them, turned back into pictures: what is undone to show them, and in what words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Step = Mapping[str, Any]

ROOM, OUTSIDE = 0.02, 0.001
"""How far beyond its range a number may lie, and what share of the numbers may lie further out: filters overshoot."""

MIDDLE = 0.005
"""The share of the numbers at either end that does not decide from where to where pictures are stretched."""

_MOST = 1_000_000


@dataclass(frozen=True)
class Undoing:
    """What turns numbers back into those of a picture: times `scale`, plus `shift`, of each channel."""

    scale: Tensor
    shift: Tensor
    words: str | None

    def bytes_of(self, picture: Tensor) -> Tensor:
        """(channels, height, width) as bytes."""
        numbers = self._applied(picture)
        return torch.nan_to_num(numbers, nan=0.0).clamp(0, 255).round().to(torch.uint8)

    def fits(self, pictures: Sequence[Tensor]) -> bool:
        """Do these become numbers in a byte's range?"""
        numbers = _together([self._applied(picture) for picture in pictures])
        beyond = (numbers < -ROOM * 255) | (numbers > (1 + ROOM) * 255)
        return bool(numbers.numel()) and float(beyond.double().mean()) <= OUTSIDE

    def _applied(self, picture: Tensor) -> Tensor:
        channels = len(picture)
        scale, shift = (one.expand(channels) if len(one) == 1 else one[:channels] for one in (self.scale, self.shift))
        return picture.double() * scale[:, None, None] + shift[:, None, None]


def undoing_of(pictures: Sequence[Tensor], steps: Sequence[Step]) -> Undoing:
    """What these are shown through; `steps` are those of one sample's journey."""
    if all(picture.dtype is torch.uint8 for picture in pictures):
        return _plain(1.0, None)
    known = _known(steps, len(pictures[0]))
    if known is not None and known.fits(pictures):
        return known
    low, high = _ends(pictures)
    whole = all(bool((picture == picture.round()).all()) for picture in pictures)
    if whole and low >= 0 and 1 < high <= 255:
        return _plain(1.0, None)
    if not whole and low >= -ROOM and high <= 1 + ROOM and low + high > 0.1:
        return _plain(255.0, "times 255")
    return _stretched(pictures)


def _plain(scale: float, words: str | None) -> Undoing:
    return Undoing(torch.tensor([scale], dtype=torch.float64), torch.zeros(1, dtype=torch.float64), words)


def _stretched(pictures: Sequence[Tensor]) -> Undoing:
    numbers = _together(pictures)
    ends = torch.quantile(numbers, torch.tensor([MIDDLE, 1 - MIDDLE], dtype=torch.float64)) if len(numbers) else None
    low, high = ends.tolist() if ends is not None else (0.0, 1.0)
    if not high > low:
        low, high = _ends(pictures)
    factor = 255 / (high - low) if high > low else 1.0
    words = f"stretched from {low:.3g} to {high:.3g}, all alike"
    shift = torch.tensor([-low * factor], dtype=torch.float64)
    return Undoing(torch.tensor([factor], dtype=torch.float64), shift, words)


def _ends(pictures: Sequence[Tensor]) -> tuple[float, float]:
    numbers = torch.cat([picture.double().flatten() for picture in pictures])
    numbers = numbers[torch.isfinite(numbers)]
    return (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 0.0)


def _together(pictures: Sequence[Tensor]) -> Tensor:
    """Their finite numbers; of very many, some."""
    numbers = torch.cat([picture.double().flatten() for picture in pictures])
    return (found := numbers[torch.isfinite(numbers)])[:: -(-len(found) // _MOST) or 1]


def _known(steps: Sequence[Step], channels: int) -> Undoing | None:
    """The changes of scale, from the last back to where the numbers were those of a picture; None if any is unknown."""
    scale, shift = torch.ones(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    said: list[str] = []
    turned = False
    taken = [step for step in steps if step.get("part") == "input" and step.get("kind") in ("call", "line")]
    for step in reversed(taken):
        if (full := _full(step.get("after") or {})) is not None:
            return Undoing(scale * (255 / full), shift * (255 / full), _said(said, full))
        change = step.get("change") or {}
        if change.get("scale") is not None:
            factor, plus = _each(change["scale"], channels, turned), _each(change["shift"], channels, turned)
            if factor is None or plus is None or not bool((factor > 0).all()):
                return None
            if bool((factor != 1).any()) or bool((plus != 0).any()):
                said.append(str(step.get("words") or "a change of scale"))
            scale, shift = scale / factor, (shift - plus) / factor
        elif not _keeps(step):
            return None
        turned ^= change.get("order") == "channels-reversed"
    full = _full(taken[0].get("before") or {}) if taken else None
    return Undoing(scale * (255 / full), shift * (255 / full), _said(said, full)) if full is not None else None


def _said(said: Sequence[str], full: float) -> str | None:
    told = [f"with “{words}” undone" for words in said] + (["times 255"] if full == 1 else [])
    return ", ".join(told) or None


def _full(value: Mapping[str, Any]) -> float | None:
    """The number that is full brightness, where the value holds those of a picture."""
    low, high = value.get("min"), value.get("max")
    if value.get("dtype") == "uint8":
        return 255.0
    return 1.0 if low is not None and high is not None and low >= 0 and 0.1 < high <= 1 else None


def _keeps(step: Step) -> bool:
    """Do the numbers stay within the range they had, as when a picture is cropped or turned?"""
    before, after = step.get("before") or {}, step.get("after") or {}
    ends = [value.get(name) for value in (before, after) for name in ("min", "max")]
    if any(end is None for end in ends) or before.get("dtype") != after.get("dtype"):
        return False
    low, high, new_low, new_high = (float(end) for end in ends if end is not None)
    room = 0.05 * (high - low)
    return low - room <= new_low and new_high <= high + room


def _each(value: Any, channels: int, turned: bool) -> Tensor | None:
    numbers = torch.tensor(value if isinstance(value, list) else [value] * channels, dtype=torch.float64)
    if len(numbers) != channels:
        return None
    return numbers.flip(0) if turned else numbers
