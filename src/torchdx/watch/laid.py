"""Whether a picture and the map that is wanted for it lie the same way round."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST = 128
"""Side of the pictures that are looked at, at most, and of any larger one's part."""

LEAST = 6
"""Side below which there is little to be laid."""

_CLEAR, _TIMES = 0.1, 1.5


def laid(pictures: Tensor, targets: Tensor) -> tuple[int, int, int]:
    """How many pictures could be judged, lie as their maps do, and go clearly better with them turned or mirrored.

    How well they go together is the correlation of a map with the picture's brightness, or with how much it differs
    from its surroundings.
    """
    wanted = targets.reshape(len(targets), -1, *targets.shape[-2:]).float().mean(1)
    height, width = wanted.shape[-2:]
    if pictures.dim() != 4 or [*pictures.shape[-2:]] != [height, width] or min(height, width) < LEAST:
        return 0, 0, 0
    if max(height, width) > LARGEST or not pictures.is_floating_point():
        return 0, 0, 0
    bright = torch.nan_to_num(pictures.float()).mean(1)
    around = torch.nn.functional.avg_pool2d(bright[:, None], 5, 1, 2, count_include_pad=False)[:, 0]
    views = torch.stack([bright, (bright - around).abs()], 1)
    there = _standard(wanted[:, None])
    found = torch.stack([(_standard(view) * there).mean((2, 3)).abs().amax(1) for view in _turned(views)], 1)
    here, other = found[:, 0], found[:, 1:].amax(1)
    known = wanted.flatten(1).std(1) > 0
    kept = known & (here > other * _TIMES + _CLEAR)
    turned = known & (other > here * _TIMES + _CLEAR)
    return int(known.sum()), int(kept.sum()), int(turned.sum())


def _turned(views: Tensor) -> list[Tensor]:
    """As they are, and turned and mirrored in all ways that leave the form as it is."""
    square = views.shape[-1] == views.shape[-2]
    turns = [torch.rot90(views, k, (2, 3)) for k in (range(4) if square else (0, 2))]
    return [*turns, *(view.flip(3) for view in turns)]


def _standard(maps: Tensor) -> Tensor:
    centred = maps - maps.mean((2, 3), keepdim=True)
    return centred / centred.square().mean((2, 3), keepdim=True).sqrt().clamp(min=1e-12)
