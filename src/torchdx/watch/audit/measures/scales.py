"""Do the samples come in one scale, or in two? Told by which model of their sizes is the better one."""

from __future__ import annotations

import math
from statistics import fmean, pvariance
from typing import Any

from torchdx.watch.audit.pool import Pool
from torchdx.watch.audit.subjects import Subject

FEWEST = 20
SHARE = 0.02
"""The least share of the samples that may make a scale of its own."""

_FLOOR = 1e-3


def mixture(pool: Pool, _: Subject) -> dict[str, Any] | None:
    """One Gaussian of the logarithm of each sample's greatest magnitude against two, by the Bayesian criterion.

    `gain` is the difference of their criteria (Schwarz 1978) in nats: above 0 two are the better model.
    """
    sizes = [max(abs(low), abs(high)) for low, high in pool.extremes]
    logs = sorted(math.log(size) for size in sizes if 0 < size < math.inf)
    if len(logs) < FEWEST or ("int" in pool.dtype and pool.dtype != "uint8"):
        return None
    cuts = sorted(range(1, len(logs)), key=lambda k: logs[k - 1] - logs[k])[:5]  # the widest gaps
    best = max((cut for cut in cuts), key=lambda cut: _two(logs, cut))
    low, high = logs[:best], logs[best:]
    if min(len(low), len(high)) < SHARE * len(logs):
        return None
    gain = _two(logs, best) - _likelihood(logs, 0, len(logs)) - 1.5 * math.log(len(logs))
    gap = math.exp(high[0] - low[-1])
    told = {"samples": len(logs), "gain": gain, "gap": gap, "share": len(high) / len(logs)}
    return told | {"sizes": [math.exp(fmean(low)), math.exp(fmean(high))]}


def _two(logs: list[float], cut: int) -> float:
    """The log-likelihood of two Gaussians that do not overlap."""
    return _likelihood(logs, 0, cut) + _likelihood(logs, cut, len(logs))


def _likelihood(logs: list[float], start: int, end: int) -> float:
    part = logs[start:end]
    variance = max(pvariance(part), _FLOOR)
    share = math.log(len(part) / len(logs))
    return len(part) * (share - 0.5 * math.log(2 * math.pi * variance) - 0.5 * pvariance(part) / variance)
