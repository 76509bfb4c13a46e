"""Whether a picture and the map that is wanted for it lie the same way round."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

LARGEST = 128
"""Side of the pictures that are looked at, at most, and of any larger one's part."""

LEAST = 6
"""Side below which there is little to be laid."""

CHANNELS = 4
"""Colours of a picture that are looked at, at most."""

_CLEAR, _TIMES = 0.1, 1.5


class Laid:
    """How many pictures could be judged, lie as their maps do, and go clearly better with them turned or mirrored.

    How well they go together is the correlation of a map with that mixture of the picture's colours, brightness, and
    difference from its surroundings, which tells the maps of all pictures seen so far best as they lie: what is bright
    by itself, and has nothing to do with the map, says nothing of how the picture lies.
    """

    def __init__(self) -> None:
        self.counts = [0, 0, 0]
        self._squares: Tensor | None = None
        self._products: Tensor | None = None

    def add(self, pictures: Tensor, targets: Tensor) -> None:
        """Some more pictures, and the maps that are wanted for them."""
        wanted = targets.reshape(len(targets), -1, *targets.shape[-2:]).float().mean(1)
        height, width = wanted.shape[-2:]
        if pictures.dim() != 4 or [*pictures.shape[-2:]] != [height, width] or min(height, width) < LEAST:
            return
        if max(height, width) > LARGEST or not pictures.is_floating_point():
            return
        seen, there = _views(pictures), _standard(wanted[:, None])
        weights = self._weights(seen, there)
        if weights is None:
            return
        mixed = _standard((seen * weights[:, None, None]).sum(1, keepdim=True))
        found = torch.stack([(view * there).mean((1, 2, 3)) for view in _turned(mixed)], 1)
        here, other = found[:, 0], found[:, 1:].amax(1)
        known = wanted.flatten(1).std(1) > 0
        kept = known & (here > other * _TIMES + _CLEAR)
        turned = known & (other > here.clamp(min=0) * _TIMES + _CLEAR)
        self.counts = [a + int(b.sum()) for a, b in zip(self.counts, (known, kept, turned), strict=True)]

    def _weights(self, seen: Tensor, there: Tensor) -> Tensor | None:
        """Of each view in the mixture that tells the maps best, by least squares over all pictures so far."""
        flat = seen.transpose(0, 1).flatten(1).double()
        squares, products = flat @ flat.T, flat @ there.flatten().double()
        if self._squares is not None and self._squares.shape != squares.shape:
            return None
        self._squares = squares if self._squares is None else self._squares + squares
        self._products = products if self._products is None else self._products + products
        scale = self._squares.diagonal().mean().clamp(min=1e-12)
        damped = self._squares + torch.eye(len(squares), dtype=torch.float64, device=squares.device) * scale * 1e-3
        weights: Tensor = torch.linalg.solve(damped, self._products).float()
        return weights


def _views(pictures: Tensor) -> Tensor:
    """Brightness, how much it differs from its surroundings, and a few colours: each about its mean in the picture."""
    colours = torch.nan_to_num(pictures.float())
    bright = colours.mean(1, keepdim=True)
    around = avg_pool2d(bright, 5, 1, 2, count_include_pad=False)
    views = torch.cat([bright, (bright - around).abs(), colours[:, :CHANNELS]], 1)
    return views - views.mean((2, 3), keepdim=True)


def _turned(views: Tensor) -> list[Tensor]:
    """As they are, and turned and mirrored in all ways that leave the form as it is."""
    square = views.shape[-1] == views.shape[-2]
    turns = [torch.rot90(views, k, (2, 3)) for k in (range(4) if square else (0, 2))]
    return [*turns, *(view.flip(3) for view in turns)]


def _standard(maps: Tensor) -> Tensor:
    centred = maps - maps.mean((2, 3), keepdim=True)
    return centred / centred.square().mean((2, 3), keepdim=True).sqrt().clamp(min=1e-12)
