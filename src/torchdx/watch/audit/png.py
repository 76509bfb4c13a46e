"""A small picture as PNG, with nothing but the standard library."""

from __future__ import annotations

import base64
import struct
import zlib

import torch
from torch import Tensor

MOST = 96
"""Pixels of the longer side; larger pictures are thinned out."""


def thumbnail(picture: Tensor) -> tuple[str, str]:
    """(channels, height, width) of numbers as base64 PNG, and in words how they were made bytes.

    Numbers in 0..1 are multiplied by 255; whole ones in 0..255 stay; all others are stretched over what they span.
    """
    picture = picture[:, :: _stride(picture.shape[1]), :: _stride(picture.shape[2])]
    picture = picture[:3] if len(picture) >= 3 else picture[:1]
    numbers = torch.nan_to_num(picture.double(), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    if picture.dtype is torch.uint8 or (not picture.dtype.is_floating_point and low >= 0 and 1 < high <= 255):
        words = "as it is"
    elif low >= 0 and high <= 1:
        numbers, words = numbers * 255, "times 255"
    else:
        numbers, words = (numbers - low) * (255 / (high - low or 1.0)), f"stretched from {low:.3g} to {high:.3g}"
    return base64.b64encode(_png(numbers.round().to(torch.uint8))).decode(), words


def _stride(length: int) -> int:
    return -(-length // MOST)


def _png(bytes_: Tensor) -> bytes:
    """One or three channels of bytes, (channels, height, width)."""
    channels, height, width = bytes_.shape
    rows = bytes_.permute(1, 2, 0).reshape(height, width * channels)
    filtered = torch.cat([torch.zeros(height, 1, dtype=torch.uint8), rows], 1)
    data = zlib.compress(bytes(filtered.flatten().tolist()), 6)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
