"""What is trained on beside what is evaluated on: samples in both, and how their values differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.audit.measures.closeness import comparable
from torchdx.watch.audit.measures.tables import table_of
from torchdx.watch.audit.pool import Pool

NEAR = 0.1
"""Of the middle distance between neighbours in training: closer is nearly the same sample."""

MOST, FEWEST = 1500, 30
SHUFFLES, NEIGHBOURS = 50, 5


def overlap(trained: Pool, judged: Pool) -> dict[str, Any] | None:
    """Samples to be evaluated on that stand among those trained on, too, exactly or nearly.

    `own` is the share of training samples that have an equal one in training itself.
    """
    if not trained.digests or not judged.digests:
        return None
    place = dict(zip(reversed(trained.digests), reversed(trained.indices), strict=False))
    exact = [(place[d], k) for d, k in zip(judged.digests, judged.indices, strict=False) if d in place]
    own = 1 - len(place) / len(trained.digests)
    told: dict[str, Any] = {"checked": [len(trained), len(judged)], "exact": len(exact), "own": own}
    told["continuous"] = trained.dtype.startswith("float") or trained.layout in ("CHW", "HWC", "HW")
    return told | {"examples": exact[:10]} | _near(trained, judged, {k for _, k in exact})


def _near(trained: Pool, judged: Pool, exact: set[int]) -> dict[str, Any]:
    """How many more lie so near to a training sample as samples of their own do not."""
    rows, others = trained.features, judged.features
    if rows is None or others is None or rows.shape[1] != others.shape[1] or min(len(rows), len(others)) < FEWEST:
        return {"near": 0}
    both = comparable(trained, torch.cat([rows[:MOST], others[:MOST]]))
    rows, others = both[: len(rows[:MOST])], both[len(rows[:MOST]) :]
    inside = torch.cdist(rows, rows).fill_diagonal_(math.inf).min(1).values
    usual = float(inside.median())
    across = torch.cdist(others, rows).min(1).values
    kept = torch.tensor([k not in exact for k in judged.indices[:MOST]])
    close = (across < NEAR * usual) & kept
    natural = float((inside < NEAR * usual).double().mean())
    return {"near": int(close.sum()), "near_own": natural, "near_checked": len(others)}


def shift(trained: Pool, judged: Pool) -> dict[str, Any] | None:
    """How the values differ: mean by mean, and how well neighbours tell the two apart, against shuffled ones."""
    rows, others = trained.features, judged.features
    if rows is None or others is None or rows.shape[1] != others.shape[1] or min(len(rows), len(others)) < FEWEST:
        return None
    told: dict[str, Any] = {"samples": [len(trained), len(judged)], "channels": _channels(trained, judged)}
    size = min(len(rows), len(others), MOST // 2)
    both = comparable(trained, torch.cat([_thinned(rows, size), _thinned(others, size)]))
    nearest = torch.cdist(both, both).fill_diagonal_(math.inf).topk(NEIGHBOURS, largest=False).indices
    side = torch.arange(len(both)) < size
    agree = _agreement(side, nearest)
    null = torch.tensor([_agreement(side[_order(len(side), seed)], nearest) for seed in range(SHUFFLES)])
    beaten = int((null >= agree).sum())
    told |= {"divergence": agree, "null": [float(null.mean()), float(null.std())]}
    return told | {"p": (beaten + 1) / (SHUFFLES + 1)}


def _thinned(rows: Tensor, size: int) -> Tensor:
    return rows[_order(len(rows), 0)[:size]]


def _order(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _agreement(side: Tensor, nearest: Tensor) -> float:
    """The share of nearest others that lie on one's own side: 1/2 where both are alike."""
    return float((side[nearest] == side[:, None]).double().mean())


def _channels(trained: Pool, judged: Pool) -> list[dict[str, float]]:
    """Mean of each column of a table, or of each channel, and the deviation of the samples', in training."""
    tables = table_of(trained), table_of(judged)
    if tables[0] is not None and tables[1] is not None:
        pairs: list[tuple[Tensor, Tensor]] = [(a.double(), b.double()) for a, b in zip(tables[0].T, tables[1].T)]  # noqa: B905
    else:
        old, new = _means(trained), _means(judged)
        if old is None or new is None or old.shape[1] != new.shape[1]:
            return []
        pairs = list(zip(old.T, new.T, strict=True))
    return [told for one, other in pairs if (told := _apart(one, other))]


def _means(pool: Pool) -> Tensor | None:
    kept = [moments[:, 0] for moments in pool.moments if moments is not None]
    return torch.stack(kept) if kept and len({len(one) for one in kept}) == 1 else None


def _apart(one: Tensor, other: Tensor) -> dict[str, float]:
    one, other = one[torch.isfinite(one)], other[torch.isfinite(other)]
    if len(one) < FEWEST or len(other) < FEWEST:
        return {}
    difference = float(other.mean() - one.mean())
    error = math.sqrt(float(one.var()) / len(one) + float(other.var()) / len(other))
    told = {"train": float(one.mean()), "eval": float(other.mean()), "deviation": float(one.std())}
    return told | {"of_eval": float(other.std()), "z": difference / error if error else 0.0}


def scaled(trained: Pool, judged: Sequence[Pool]) -> dict[str, Any] | None:
    """Where a table's columns have mean 0 and deviation 1: over training alone, or over all there is together?

    `alone` and `together` are the middle of the columns' absolute means, each over its standard error.
    """
    first = table_of(trained)
    rest = [table_of(pool) for pool in judged]
    whole = all(pool.stopped == "all" for pool in (trained, *judged))
    if first is None or not rest or not whole or any(one is None or one.shape[1] != first.shape[1] for one in rest):
        return None
    kept = first.std(0) > 0
    if int(kept.sum()) < 2:
        return None
    all_rows = torch.cat([first, *(one for one in rest if one is not None)])[:, kept]
    return {"alone": _off(first[:, kept]), "together": _off(all_rows), "columns": int(kept.sum())}


def _off(rows: Tensor) -> float:
    rows = rows.double()
    return float((rows.mean(0).abs() / (rows.std(0) / math.sqrt(len(rows)))).median())
