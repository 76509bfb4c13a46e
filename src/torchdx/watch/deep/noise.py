"""How much of a batch's gradient is that of all data, and how much is the chance of which samples it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.deep.curvature import flat_gradient
from torchdx.watch.deep.episode import Episode
from torchdx.watch.deep.specimen import Specimen

PIECES = 4
"""Pieces that a batch is cut into, where its loss is the mean of theirs, as it is not with batch norm."""

BATCHES = 4
"""Batches of one size below which nothing is said of how they differ."""

LARGEST = 50_000_000
"""Parameters beyond which the gradients of the kept batches take more than two gigabytes."""


def noise(specimen: Specimen, in_time: Callable[[], bool]) -> dict[str, Any]:
    """|G|^2 and tr(S), without bias (McCandlish et al., arXiv 1812.06162), of the weights at first and in the end."""
    size = max(one.samples for one in specimen.episodes)
    batches = [one for one in specimen.episodes if one.samples == size]
    if len(batches) < BATCHES:
        return {"why": f"{BATCHES} different batches of one size"}
    if sum(p.numel() for p in specimen.parameters) > LARGEST:
        return {"why": "the model is too large for gradients of several batches"}
    told: dict[str, Any] = {"batches": len(batches), "samples": size}
    for name, state in (("final", specimen.final), ("initial", specimen.initial)):
        specimen.become(state)
        specimen.steady()
        if all(bool(torch.isfinite(p).all()) for p in specimen.parameters) and in_time():
            told[name] = _measured(specimen, batches)
    return told


def _measured(specimen: Specimen, batches: Sequence[Episode]) -> dict[str, float]:
    """Both, with the standard errors that leaving out one batch after the other shows."""
    losses, sums, squares = [], [], []
    pieces = PIECES if all(_falls_apart(specimen, batch) for batch in batches) else 1
    for batch in batches:
        values = [specimen.loss(piece) for piece in batch.pieces(pieces)]
        gradients = [flat_gradient(value, specimen.parameters) for value in values]
        losses += [float(value.detach()) for value in values]
        squares.append(sum(float(g.square().sum()) for g in gradients))
        sums.append(torch.stack(gradients).sum(0))
    products = (torch.stack(sums) @ torch.stack(sums).T).double().cpu()

    def of(chosen: Sequence[int]) -> tuple[float, float]:
        return _estimated(products[chosen][:, chosen], [squares[k] for k in chosen], pieces)

    everything = range(len(batches))
    square, spread = of(everything)
    without = [of([k for k in everything if k != left]) for left in everything]
    samples = batches[0].samples // pieces
    return {
        "loss": sum(losses) / len(losses),
        "square": square,
        "square_error": _jackknife([one[0] for one in without]),
        "trace": spread * samples,
        "trace_error": _jackknife([one[1] * samples for one in without]),
    }


def _estimated(products: Tensor, squares: Sequence[float], pieces: int) -> tuple[float, float]:
    """|G|^2, and the variance of a piece's gradient, from the inner products of the batches' sums over pieces."""
    count = pieces * len(squares)
    total = float(products.sum()) / count
    variance = (sum(squares) - total) / (count - 1)
    return (total - variance) / count, variance


def _jackknife(without: Sequence[float]) -> float:
    mean, count = sum(without) / len(without), len(without)
    return math.sqrt(sum((one - mean) ** 2 for one in without) * (count - 1) / count)


def _falls_apart(specimen: Specimen, batch: Episode) -> bool:
    """Is the loss of the batch the mean of the losses of its pieces?"""
    if batch.samples % PIECES:
        return False
    try:
        mean = specimen.mean_loss(batch.pieces(PIECES))
    except Exception:  # a model that wants batches of this size, as one that is handed its hidden state
        return False
    return math.isclose(mean, specimen.mean_loss([batch]), rel_tol=1e-4)
