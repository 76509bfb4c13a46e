"""Whether targets have anything to do with inputs, judged without a model: by how alike the samples are."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

FEATURES = 64
"""Numbers that a sample is told by, in each of the ways in which it is looked at."""

LITTLE = 16
"""Values of a sample up to which only these are looked at."""

LEAST = 64
"""Samples below which nothing is told."""

OTHERS = 8
"""Samples not of the commonest class that there must be, as of one class nothing can be told."""

_GOLDEN = 2654435769


def views(inputs: list[Tensor]) -> Tensor:
    """Samples as rows of numbers: their values and, of what has an order, that which does not depend on the place."""
    found = []
    for rows in inputs[:2]:
        flat = rows.reshape(len(rows), -1)
        if rows.is_floating_point():
            flat = torch.nan_to_num(flat.float())
            found.append(_projected(flat))
            if flat.shape[1] > LITTLE:
                found.append(_projected(_spectrum(flat.reshape(rows.shape))))
                found.append(_projected(flat.square()))
        else:
            found += [_counted(flat.long()), _projected(flat.float())]
    return torch.cat(found, 1)


def _projected(flat: Tensor) -> Tensor:
    """The values themselves, if there are few; else sums of them with signs, which keep distances."""
    count = flat.shape[1]
    if count <= FEATURES:
        return torch.nn.functional.pad(flat, (0, FEATURES - count))
    return flat @ _signs(count)


@lru_cache(maxsize=16)
def _signs(count: int) -> Tensor:
    k = torch.arange(count * FEATURES, dtype=torch.int64) * _GOLDEN
    k = ((k ^ (k >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    k = ((k ^ (k >> 12)) * 0x297A2D39) & 0xFFFFFFFF
    signs: Tensor = ((k >> 17 & 1) * 2 - 1).view(count, FEATURES).float() / count**0.5
    return signs


def _spectrum(rows: Tensor) -> Tensor:
    """How strong each frequency is along the longest side."""
    longest = max(range(1, rows.dim()), key=lambda dim: rows.shape[dim])
    strengths: Tensor = torch.fft.rfft(rows, dim=longest).abs()
    return strengths.reshape(len(rows), -1)


def _counted(flat: Tensor) -> Tensor:
    """How often each whole number occurs, in as many bins as there are features."""
    return torch.zeros(len(flat), FEATURES).scatter_add_(1, flat % FEATURES, torch.ones(flat.shape))


def related(seen: list[Tensor], targets: Tensor, classes: bool) -> list[float]:
    """How far, in deviations of chance, samples that are alike have targets that are alike: one number for each view.

    The Hilbert-Schmidt independence criterion (Gretton et al., 2005), beside its mean and deviation under all orders of
    the targets; of three kernels the surest.
    """
    count = len(targets)
    if count < LEAST:
        return []
    wanted = _centred(_alike(targets, classes))
    commonest = int((targets == targets.mode(0).values).all(1).sum())
    if not bool(wanted.abs().max() > 1e-6) or (classes and count - commonest < OTHERS):
        return []
    told = []
    for kernels in filter(None, map(_kernels, seen)):
        chances = [float(kernel.trace() * wanted.trace()) / (count - 1) for kernel in kernels]
        spreads = [_off(kernel) * _off(wanted) * (2 / (count * (count - 1))) ** 0.5 for kernel in kernels]
        found = [float((kernel * wanted).sum()) for kernel in kernels]
        told.append(max((a - b) / c if c > 0 else 0.0 for a, b, c in zip(found, chances, spreads, strict=True)))
    return told


def _off(kernel: Tensor) -> float:
    """The size of what lies off the diagonal."""
    return float((kernel - kernel.diag().diag()).norm())


def _alike(targets: Tensor, classes: bool) -> Tensor:
    if classes:
        return (targets[:, None, :] == targets[None, :, :]).float().mean(2)
    scaled = (targets - targets.mean(0)) / targets.std(0).clamp(min=1e-12)
    return (scaled @ scaled.T).float()


def _kernels(view: Tensor) -> list[Tensor]:
    """How alike the samples are: by their distance, by their direction, and whether they are nearest neighbours."""
    spread = view.std(0)
    view = ((view - view.mean(0)) / spread.clamp(min=1e-12))[:, spread > 0]
    if not view.shape[1]:
        return []
    far = torch.cdist(view, view).square()
    near = torch.exp(-far / far.median().clamp(min=1e-12))
    nearest = torch.zeros_like(far).scatter_(1, far.fill_diagonal_(torch.inf).topk(5, 1, largest=False).indices, 1.0)
    return [_centred(kernel) for kernel in (near, view @ view.T, nearest)]


def _centred(kernel: Tensor) -> Tensor:
    kernel = kernel.clone().fill_diagonal_(0)
    return kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
