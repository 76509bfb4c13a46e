"""Can the model learn one small batch by heart? If not, no rate and no data will make it learn many."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.deep.episode import Episode
from torchdx.watch.deep.specimen import Specimen

SAMPLES = 16
"""Samples that are to be learnt by heart (catalogue, row 58: 8 to 16)."""

STEPS = 300
"""Steps of Adam for it (row 58)."""

RATES = (1e-3, 1e-2)
"""Rates that are tried, the second where the first does not do."""

DONE = 0.05
"""Share of the first loss at which it is learnt and no more steps are taken."""


def one_batch(specimen: Specimen, in_time: Callable[[], bool]) -> dict[str, Any]:
    """Fit one small batch from the weights at first and, where that fails, from those in the end, without dropout."""
    episode = specimen.first.part(SAMPLES)
    if episode.samples < 2:
        return {"why": "a step has a single sample"}
    target = episode.target
    told: dict[str, Any] = {
        "samples": episode.samples,
        "distinct": _distinct(episode),
        "features": max((t.numel() // t.shape[0] for t in episode.inputs if t.dim() and t.shape[0]), default=0),
        "targets": target.numel() if target is not None else None,
        "parameters": sum(p.numel() for p in specimen.parameters),
        "constant": constant_loss(episode),
    }
    for name, state in (("initial", specimen.initial), ("final", specimen.final)):
        tries = []
        for rate in RATES:
            specimen.become(state)
            specimen.steady()
            if all(bool(torch.isfinite(p).all()) for p in specimen.parameters):
                tries.append({"rate": rate, **_fitted(specimen, episode, rate, in_time)})
            if not in_time() or (tries and tries[-1]["best"] < DONE * abs(tries[-1]["first"])):
                break
        if tries:
            told[name] = min(tries, key=lambda one: one["best"])
            if told[name]["best"] < DONE * abs(told[name]["first"]):
                break
    return told


def _fitted(specimen: Specimen, episode: Episode, rate: float, in_time: Callable[[], bool]) -> dict[str, Any]:
    optimizer = torch.optim.Adam(specimen.parameters, lr=rate)
    first = best = math.inf
    step = 0
    for step in range(1, STEPS + 1):
        loss = specimen.loss(episode)
        value = float(loss.detach())
        first = value if step == 1 else first
        best = min(best, value) if math.isfinite(value) else best
        if not math.isfinite(value) or best < DONE * abs(first) or not in_time():
            break
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(specimen.parameters, 10.0)
        optimizer.step()
    return {"first": first, "best": best, "steps": step}


def constant_loss(episode: Episode) -> float | None:
    """The loss that the best constant answer would reach; None where the loss has no such scale."""
    target, name = episode.target, episode.name
    if target is None or target.numel() == 0 or (len(episode.arguments) > 1 and episode.arguments[1] is not None):
        return None
    if name in ("cross_entropy", "nll_loss") and not target.is_floating_point():
        labels = target[target >= 0].flatten()
        return _entropy(torch.bincount(labels).double() / max(1, labels.numel()))
    flat = target.double().reshape(target.shape[0], -1) if target.dim() else target.double().reshape(1, 1)
    if name == "mse_loss":
        return float(flat.var(0, correction=0).mean())
    if name.startswith("binary_cross_entropy") and bool(((flat == 0) | (flat == 1)).all()):
        share = flat.mean(0)
        return float(sum(_entropy(torch.stack([p, 1 - p])) for p in share[:64]) / len(share[:64]))
    return None


def _entropy(shares: Tensor) -> float:
    return float(-(shares * shares.clamp_min(1e-30).log()).sum())


def _distinct(episode: Episode) -> int:
    """How many different samples there are, by the first input that has one row for each."""
    rows = next((t for t in episode.inputs if t.dim() and t.shape[0] == episode.samples), None)
    return len(torch.unique(rows.detach().reshape(rows.shape[0], -1), dim=0)) if rows is not None else 1
