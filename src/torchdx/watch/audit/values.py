"""A value on its way to the model, described: what it is, its shape and numbers, and a picture of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.audit.numbers import channels_first, is_picture, layout_of, numbers_of
from torchdx.watch.audit.png import thumbnail

BINS = 32
DISTINCT = 257
"""Different numbers that are counted at most: one more than a byte has."""

SMALLEST = 4
"""Pixels a side from which a value is shown as a picture."""

WORDS = 80
"""Letters of a value that is told in words."""


@dataclass(frozen=True)
class Shot:
    """A value as it was at one moment: its numbers, copied, and which object they were in."""

    value: Any
    numbers: Tensor | None
    layout: str
    digest: str

    @classmethod
    def of(cls, value: Any) -> Shot:
        """The value as it is now."""
        numbers = numbers_of(value)
        if numbers is None:
            return cls(value, None, "", hashlib.sha1(_said(value, 100_000).encode("utf-8", "replace")).hexdigest())
        layout = layout_of(value, tuple(numbers.shape))
        return cls(value, numbers, layout, digest_of(numbers))

    @property
    def picture(self) -> Tensor | None:
        """Its numbers as (channels, height, width); None if it is no picture."""
        return None if self.numbers is None else channels_first(self.numbers, self.layout)

    def described(self) -> dict[str, Any]:
        """The value as a fact tells it."""
        kind = type(self.value)
        told: dict[str, Any] = {"type": _dotted(kind)}
        if is_picture(self.value):
            told["mode"] = self.value.mode
        if self.numbers is None:
            return told | {"text": _said(self.value, WORDS), "size": _length(self.value)}
        told |= {"dtype": str(self.numbers.dtype).removeprefix("torch."), "layout": self.layout}
        told["shape"] = list(self.numbers.shape)
        if self.numbers.numel():
            told |= _statistics(self.numbers) | self._seen()
        return told

    def _seen(self) -> dict[str, Any]:
        picture = self.picture
        if picture is None or min(picture.shape[1:]) < SMALLEST:
            return {}
        png, shown = thumbnail(picture)
        return {"channels": [_four(channel) for channel in picture], "picture": png, "shown": shown}


def digest_of(numbers: Tensor) -> str:
    """What tells these numbers, in this shape, from any others."""
    raw = numbers.contiguous().view(torch.uint8) if numbers.dim() else numbers.reshape(1).view(torch.uint8)
    words = f"{numbers.dtype}{tuple(numbers.shape)}".encode()
    return hashlib.sha1(words + _bytes(raw)).hexdigest()


def _bytes(raw: Tensor) -> bytes:
    try:
        return raw.numpy().tobytes()
    except RuntimeError:  # torch without NumPy
        return bytes(raw.flatten().tolist())


def _statistics(numbers: Tensor) -> dict[str, Any]:
    flat = numbers.flatten().double()
    finite = flat[torch.isfinite(flat)]
    told: dict[str, Any] = {"nonfinite": bad} if (bad := flat.numel() - finite.numel()) else {}
    if not finite.numel():
        return told
    told |= _four(finite)
    distinct = torch.unique(finite[:: -(-finite.numel() // 65_536)]).numel()
    told |= {"whole": bool((finite == finite.round()).all()), "distinct": min(distinct, DISTINCT)}
    span = told["max"] - told["min"]
    if span > 0:
        counts = torch.bincount(((finite - told["min"]) * (BINS / span)).long().clamp(0, BINS - 1), minlength=BINS)
        told["histogram"] = counts.tolist()
    return told


def _four(numbers: Tensor) -> dict[str, float]:
    numbers = numbers.double()
    numbers = numbers[torch.isfinite(numbers)]
    if not numbers.numel():
        return {}
    deviation = float(numbers.std(correction=0))
    return {"min": float(numbers.min()), "max": float(numbers.max()), "mean": float(numbers.mean()), "std": deviation}


def _dotted(kind: type) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    name = "PIL.Image.Image" if kind.__module__.startswith("PIL.") else f"{kind.__module__}.{kind.__qualname__}"
    return {"torch.Tensor": "torch.Tensor"}.get(name, name)


def _said(value: Any, most: int) -> str:
    try:
        words = value if isinstance(value, str) else repr(value)
    except Exception as problem:  # a repr of the program's own
        words = f"<{type(value).__name__}: {type(problem).__name__}>"
    return words if len(words) <= most else words[: most - 1] + "…"


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except Exception:
        return None
