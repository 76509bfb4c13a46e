"""What a transform that was named without data is tried on: a picture in colours, as Pillow, NumPy or torch hold it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

HEIGHT, WIDTH = 48, 64


class Specimens:
    """A dataset of one sample: what the transform makes of the first kind of picture that it takes."""

    def __init__(self, transform: Callable[..., Any]) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        """The picture, transformed; what the last kind of picture raises is raised."""
        problem: Exception | None = None
        for words, picture in _pictures():
            try:
                return self.transform(picture) if not words else self.transform(**{words: picture})
            except Exception as raised:
                problem = problem or raised
        raise problem or TypeError("it takes no picture")


def _pictures() -> Iterator[tuple[str, Any]]:
    """Each kind of picture, and the keyword it is given as, if any: red rises to the right, green downwards."""
    right = torch.linspace(0, 255, WIDTH).expand(HEIGHT, WIDTH)
    down = torch.linspace(0, 255, HEIGHT)[:, None].expand(HEIGHT, WIDTH)
    numbers = torch.stack([right, down, 255 - right], 2).to(torch.uint8)
    pillow, numpy = sys.modules.get("PIL.Image"), sys.modules.get("numpy")
    if pillow is not None:
        yield "", pillow.frombytes("RGB", (WIDTH, HEIGHT), bytes(numbers.flatten().tolist()))
    if numpy is not None:
        yield "", numpy.array(numbers.tolist(), dtype=numpy.uint8)
        yield "image", numpy.array(numbers.tolist(), dtype=numpy.uint8)
    yield "", numbers.permute(2, 0, 1).contiguous()
    yield "", numbers.permute(2, 0, 1).float() / 255
