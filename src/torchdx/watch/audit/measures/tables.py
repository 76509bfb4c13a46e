"""Inputs as rows of numbers: each column's scale, and what of them is not finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdx.watch.audit.pool import Pool
from torchdx.watch.audit.subjects import Subject

WIDEST = 512
"""Columns of a table that are told one by one."""

NARROWEST = 2


def table_of(pool: Pool) -> Tensor | None:
    """The pool's inputs as (samples, columns), where each is one row of real numbers."""
    rows = pool.features
    if rows is None or not len(rows) or not NARROWEST <= rows.shape[1] <= WIDEST:
        return None
    return rows if all(len(size) == 1 for size in pool.sizes) and "int" not in pool.dtype else None


def columns(pool: Pool, _: Subject) -> dict[str, Any] | None:
    """Mean, deviation, least, greatest and number of different values of every column."""
    table = table_of(pool)
    if table is None:
        return None
    told = [_column(column.double()) for column in table.T]
    constant = [k for k, one in enumerate(told) if one["distinct"] == 1 and not one["nonfinite"]]
    return {"samples": len(pool), "columns": told, "constant": constant}


def _column(numbers: Tensor) -> dict[str, Any]:
    finite = numbers[torch.isfinite(numbers)]
    told: dict[str, Any] = {"nonfinite": len(numbers) - len(finite), "distinct": len(torch.unique(finite))}
    if len(finite):
        told |= {"mean": float(finite.mean()), "std": float(finite.std(correction=0))}
        told |= {"min": float(finite.min()), "max": float(finite.max())}
    return told


def nonfinite(pool: Pool, _: Subject) -> dict[str, Any] | None:
    """Samples whose input, or whose target, holds what is not finite."""
    inputs = [k for k, (low, high) in zip(pool.indices, pool.extremes, strict=False) if low - low != 0 or high - high]
    targets = [k for k, label in zip(pool.indices, pool.labels, strict=True) if _is_not_finite(label)]
    inputs = inputs if pool.dtype.startswith(("float", "bfloat")) else []
    if not inputs and not targets:
        return None
    return {"samples": len(pool), "inputs": inputs[:20], "targets": targets[:20], "count": len({*inputs, *targets})}


def _is_not_finite(label: Any) -> bool:
    if isinstance(label, float):
        return label - label != 0
    return isinstance(label, list) and any(_is_not_finite(one) for one in label)
