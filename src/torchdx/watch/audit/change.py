"""What was done to a value, measured between what it was and what it became, however it was written."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdx.watch.audit.values import Shot

EXACT = 1e-4
"""Of the range of the numbers: how far off a straight line they may lie, as float32 computes it."""

FEW = 64
"""Different whole numbers up to which they may be names of things, as in a mask."""


def change(before: Shot, after: Shot) -> dict[str, Any] | None:
    """The change as a fact tells it; None where the two cannot be held together."""
    if before.numbers is None or after.numbers is None or not before.numbers.numel() or not after.numbers.numel():
        return None
    told = _of_pictures(before, after) if before.picture is not None and after.picture is not None else {}
    if not told.get("order") and not told.get("resized"):
        told |= _of_rows(before, after)
    return told or None


def _of_pictures(before: Shot, after: Shot) -> dict[str, Any]:
    old, new = before.picture, after.picture
    assert old is not None
    assert new is not None
    if old.shape != new.shape:
        return _resized(before, after, old, new) if old.shape[0] == new.shape[0] else {}
    for order, turned in _orders(old):
        line = _line(turned, new)
        if line is not None:
            same_axes = before.layout == after.layout or "HW" in (before.layout, after.layout)
            told = line | {"order": "permuted" if order == "same" and not same_axes else order}
            return told | _new_values(before, after)
    return _cut(old, new) | _new_values(before, after)


def _orders(picture: Tensor) -> list[tuple[str, Tensor]]:
    """The picture as it is, and as the usual changes of order would leave it."""
    orders = [("same", picture)]
    orders += [("flipped", picture.flip(axes)) for axes in ((2,), (1,), (1, 2))]
    if picture.shape[0] == 3:
        orders.append(("channels-reversed", picture.flip(0)))
    return orders


def _of_rows(before: Shot, after: Shot) -> dict[str, Any]:
    """Of any two of one size: are the numbers the same in memory's order, but for scale and offset?"""
    old, new = before.numbers, after.numbers
    assert old is not None
    assert new is not None
    if old.numel() != new.numel():
        return {}
    line = _line(old.reshape(1, -1), new.reshape(1, -1))
    if line is None:
        return _cut(old.reshape(1, -1), new.reshape(1, -1)) if old.shape == new.shape else {}
    taken_apart = {before.layout, after.layout} in ({"HWC", "CHW"}, {"NHWC", "NCHW"}) and old.shape != new.shape
    apart = taken_apart and 1 not in old.shape and float(old.double().std()) > 0
    return line | {"order": "reinterpreted" if apart else "same"}


def _line(old: Tensor, new: Tensor) -> dict[str, Any] | None:
    """`scale` and `shift` of each channel, where each is a straight line of the other; one of each where all agree."""
    scales, shifts = [], []
    for one, other in zip(old.double(), new.double(), strict=True):
        low, high = one.flatten().argmin(), one.flatten().argmax()
        span = float(one.flatten()[high] - one.flatten()[low])
        if not span > 0:
            return None if len(old) == 1 or float(other.max() - other.min()) > 0 else _line_of_others(old, new)
        scale = float(other.flatten()[high] - other.flatten()[low]) / span
        shift = float(other.flatten()[low]) - scale * float(one.flatten()[low])
        allowed = EXACT * (abs(scale) * span)
        if not scale > 0 or not float((other - scale * one - shift).abs().max()) <= allowed:
            return None
        scales.append(scale)
        shifts.append(shift)
    return {"scale": _one_of(scales), "shift": _one_of(shifts)}


def _line_of_others(old: Tensor, new: Tensor) -> dict[str, Any] | None:
    """The line through those channels that are not one single value."""
    kept = [k for k, channel in enumerate(old.double()) if float(channel.max() - channel.min()) > 0]
    return _line(old[kept], new[kept]) if 0 < len(kept) < len(old) else None


def _one_of(values: list[float]) -> float | list[float]:
    alike = max(values) - min(values) <= 1e-3 * max(abs(value) for value in values)
    return values[0] if alike else values


def _resized(before: Shot, after: Shot, old: Tensor, new: Tensor) -> dict[str, Any]:
    ratios = [new.shape[1] / old.shape[1], new.shape[2] / old.shape[2]]
    return {"resized": ratios} | _new_values(before, after)


def _new_values(before: Shot, after: Shot) -> dict[str, Any]:
    """Of pictures that hold few whole numbers: how many come out that were not among them."""
    assert before.numbers is not None
    assert after.numbers is not None
    old, new = torch.unique(before.numbers), torch.unique(after.numbers)
    whole = not old.is_floating_point() or bool((old == old.round()).all())
    if len(old) > FEW or not whole:
        return {}
    return {"few": len(old), "new_values": int((~torch.isin(new.double(), old.double())).sum())}


def _cut(old: Tensor, new: Tensor) -> dict[str, Any]:
    """Of numbers that were made bytes or whole: the share that lost something, and the share that wrapped around."""
    if new.is_floating_point() or not old.is_floating_point():
        return {}
    for factor in (1.0, 255.0):
        wanted = old.double() * factor
        got = new.double()
        if bool((got == wanted.trunc().remainder(256)).all() or (got == wanted.round().remainder(256)).all()):
            beyond = (wanted < 0) | (wanted >= 256) if new.dtype is torch.uint8 else torch.zeros_like(wanted).bool()
            lost = (got - wanted).abs() > EXACT * max(1.0, factor)
            shares = {"lost": float(lost.double().mean()), "wrapped": float(beyond.double().mean())}
            return shares | {"factor": factor}
    return {}
