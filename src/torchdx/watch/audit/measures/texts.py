"""Inputs as rows of tokens: how long they are, and how much of what a model reads of them is padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.audit.numbers import numbers_of
from torchdx.watch.audit.pool import Pool
from torchdx.watch.audit.samples import input_of
from torchdx.watch.audit.subjects import Subject

BATCHES = 8


def tokens(pool: Pool, subject: Subject) -> dict[str, Any] | None:
    """Real lengths (least, quarter, middle, three quarters, greatest), and the padding's value and share in batches."""
    batches = [rows for rows in _batches(pool, subject) if rows is not None]
    if not batches:
        return None
    value, lengths = padding_of([row for rows in batches for row in rows])
    read = sum(rows.numel() for rows in batches)
    padding = 1 - float(lengths.sum()) / read if value is not None else 0.0
    quantiles = torch.quantile(lengths, torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64)).tolist()
    longest = max(rows.shape[1] for rows in batches)
    told = {"samples": len(lengths), "lengths": quantiles, "padding": padding, "value": value, "longest": longest}
    return told | {"kept": float((lengths == longest).double().mean()) if value is not None else 0.0}


def padding_of(rows: Sequence[Tensor]) -> tuple[Any, Tensor]:
    """What rows are filled up with at their ends, and their lengths without it; None where nothing tells of any."""
    ends = [row[-1].item() for row in rows]
    value = max(set(ends), key=ends.count)
    lengths = torch.tensor([_length(row, value) for row in rows], dtype=torch.float64)
    unpadded = all(length == len(row) for length, row in zip(lengths.tolist(), rows, strict=True))
    if unpadded or (all(end == value for end in ends) and float(lengths.std(correction=0)) == 0):
        return None, lengths
    return value, lengths


def _batches(pool: Pool, subject: Subject) -> list[Tensor | None]:
    """Inputs of some batches as the loader would put them together: (samples, tokens)."""
    if not any(row is not None for row in pool.tokens):
        return []
    size = getattr(subject.thing, "batch_size", None) or 1
    collate = getattr(subject.thing, "collate_fn", None) or torch.utils.data.default_collate
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0)).tolist()
    starts = range(0, min(len(order), BATCHES * size), size)
    return [rows_of(input_of(collate([subject.dataset[pool.indices[k]] for k in order[s : s + size]]))) for s in starts]


def rows_of(given: Any) -> Tensor | None:
    """A batch's inputs as (samples, tokens); None where they are something else."""
    rows = numbers_of(given)
    whole = rows is not None and rows.dim() == 2 and not rows.is_floating_point() and rows.numel()
    return rows if whole else None


def _length(row: Tensor, value: Any) -> int:
    others = (row != value).nonzero()
    return int(others[-1]) + 1 if len(others) else 0
