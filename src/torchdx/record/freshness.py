"""Whether weights still are what a random initialisation made them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

FEWEST = 512
"""Elements below which a distribution is not told by its ends and its deviation."""

ERRORS = 4.0
"""Standard errors that the mean and the deviation may be off."""

GAP = 10.0
"""The greatest of n uniform numbers is short of the bound by 2/n of it on average, and by GAP/n once in 150 times."""

_MEASURED = 1 << 18  # of larger ones, a sample of 1,024 was looked at
_SAMPLE = 1024


def is_uniform_start(shape: Sequence[int], initial: Mapping[str, float]) -> bool:
    """Do a matrix's or kernel's mean, deviation and ends fit a uniform start of torch's, as those of nothing else do?

    Training moves the outermost weights beyond the bound, or away from it, within a few steps.
    """
    count = math.prod(shape)
    if count < FEWEST or len(shape) < 2 or not initial.get("std"):
        return False
    count = count if count <= _MEASURED else _SAMPLE
    end = max(-initial["min"], initial["max"])
    shift = abs(initial["mean"]) * math.sqrt(count) / initial["std"]
    return shift < ERRORS and any(_fits(end, initial["std"], bound, count) for bound in _bounds(shape))


def _fits(end: float, deviation: float, bound: float, count: int) -> bool:
    off = abs(deviation * math.sqrt(3) / bound - 1) * math.sqrt(count / 0.2)  # a variance's kurtosis is 1.8
    return bound * (1 - GAP / count) <= end <= bound * (1 + 1e-4) and off < ERRORS


def _bounds(shape: Sequence[int]) -> Iterator[float]:
    """Of linear and convolutional layers by default, of recurrent ones, and by Glorot's and He's rules."""
    kernel = math.prod(shape[2:])
    into, out = shape[1] * kernel, shape[0] * kernel
    yield from (1 / math.sqrt(into), math.sqrt(6 / (into + out)), math.sqrt(6 / into), math.sqrt(6 / out))
    yield from (1 / math.sqrt(shape[0] / gates) for gates in (1, 3, 4))
