"""The numbers of a picture, an array or a tensor, and which of its axes are rows, columns and channels."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

COLOURS = (1, 3, 4)
"""How many channels a picture may have."""

_WIDE = {"I": torch.int32, "F": torch.float32, "I;16": torch.uint16, "I;16L": torch.uint16}
"""Pillow's modes whose numbers are wider than a byte."""


def is_picture(value: object) -> bool:
    """Is it a picture of Pillow's?"""
    return type(value).__module__.partition(".")[0] == "PIL" and hasattr(value, "getbands")


def is_array(value: object) -> bool:
    """Is it an array of NumPy's that holds numbers?"""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray) and value.dtype.kind in "biuf"


def holds_numbers(value: object) -> bool:
    """Is it a picture, an array or a tensor?"""
    return is_picture(value) or is_array(value) or (isinstance(value, Tensor) and not value.is_complex())


def numbers_of(value: Any) -> Tensor | None:
    """A copy of its numbers on the CPU, in its own shape; None where it holds none that torch can read.

    A picture gives (height, width, channels), or (height, width) where it has one channel.
    """
    try:
        if is_picture(value):
            return _of_picture(value)
        if is_array(value):
            return _of_array(value)
        if isinstance(value, Tensor):
            plain = value.detach().as_subclass(Tensor)
            plain = plain.to_dense() if plain.layout is not torch.strided else plain
            return plain.to("cpu", copy=True)
    except (TypeError, ValueError, RuntimeError, OSError):
        return None
    return None


def _of_picture(picture: Any) -> Tensor:
    mode, bands = picture.mode, len(picture.getbands())
    if mode == "1":
        picture = picture.convert("L")
    width, height = picture.size
    flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=_WIDE.get(mode, torch.uint8))
    return flat.reshape(height, width) if bands == 1 else flat.reshape(height, width, bands)


def _of_array(array: Any) -> Tensor:
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    return torch.from_numpy(array.copy(order="C"))


def layout_of(value: Any, shape: tuple[int, ...]) -> str:
    """Its axes: "HWC", "CHW", "HW", "NCHW", "NHWC", "NC", "C" or "N"; empty where they cannot be told."""
    if is_picture(value):
        return "HW" if len(shape) == 2 else "HWC"
    if len(shape) == 3:
        first, last = shape[0] in COLOURS, shape[2] in COLOURS
        if first and last:
            return "CHW" if isinstance(value, Tensor) else "HWC"
        return "CHW" if first else "HWC" if last else ""
    if len(shape) == 4:
        return "NCHW" if shape[1] in COLOURS else "NHWC" if shape[3] in COLOURS else ""
    if len(shape) == 2:
        return "HW" if min(shape) >= 6 and max(shape) <= 8 * min(shape) else "NC"
    return "C" if len(shape) == 1 else ""


def channels_first(numbers: Tensor, layout: str) -> Tensor | None:
    """A picture's numbers as (channels, height, width), of a batch those of its first; None if it is no picture."""
    if layout in ("NCHW", "NHWC"):
        return channels_first(numbers[0], layout[1:]) if len(numbers) else None
    if layout == "HWC":
        return numbers.permute(2, 0, 1)
    if layout == "HW":
        return numbers[None]
    return numbers if layout == "CHW" else None
