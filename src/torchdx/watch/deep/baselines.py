"""What the model makes of labels dealt out anew and of inputs taken away: the baselines that knowing nothing sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.deep.episode import Episode
from torchdx.watch.deep.one_batch import constant_loss
from torchdx.watch.deep.specimen import Specimen

DEALS = 3
"""Times that the labels are dealt out anew."""

STEPS = 100
"""Steps of Adam, over the kept batches in turn, for each."""

RATE = 1e-3

SAMPLES = 96
"""Samples, of different batches, below which nothing is tried."""


def baselines(specimen: Specimen, in_time: Callable[[], bool]) -> dict[str, Any]:
    """Train on the true labels and on shuffled ones, from the weights at first; judge both on batches held out."""
    batches = [one for one in specimen.episodes if one.target is not None and _is_aligned(one)]
    samples = sum(one.samples for one in batches)
    if len(batches) < 4 or samples < SAMPLES:
        return {"why": f"{SAMPLES} samples with labels in 4 different batches"}
    held = batches[:: len(batches) // 2 or 1][:2] if len(batches) >= 6 else batches[-1:]
    kept = [one for one in batches if all(one is not other for other in held)]
    shapes = {one.target.shape[1:] for one in batches if one.target is not None}
    everything = torch.cat([one.target for one in batches if one.target is not None]) if len(shapes) == 1 else None
    if everything is None:
        return {"why": "labels of one shape"}
    told: dict[str, Any] = {
        "samples": sum(one.samples for one in kept),
        "held": sum(one.samples for one in held),
        "constant": constant_loss(replace(batches[0], arguments=(everything, *batches[0].arguments[1:]))),
        "real": _trained(specimen, kept, held, in_time),
        "shuffled": [],
    }
    for deal in range(DEALS):
        if not in_time():
            break
        told["shuffled"].append(_trained(specimen, _dealt(kept, deal), held, in_time))
    return told


def _trained(
    specimen: Specimen, kept: Sequence[Episode], held: Sequence[Episode], in_time: Callable[[], bool]
) -> dict[str, float]:
    """The mean training loss of the last round, the loss on what was held out at its best, and the steps taken."""
    specimen.become(specimen.initial)
    optimizer = torch.optim.Adam(specimen.parameters, lr=RATE)
    best, losses = math.inf, list[float]()
    for step in range(STEPS):
        if step % 20 == 0:
            specimen.evaluating()
            best = min(best, specimen.mean_loss(held))
        specimen.steady()
        loss = specimen.loss(kept[step % len(kept)])
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]) or not in_time():
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    specimen.evaluating()
    latest = losses[-len(kept) :]
    return {"train": sum(latest) / len(latest), "held": min(best, specimen.mean_loss(held)), "steps": len(losses)}


def _dealt(batches: Sequence[Episode], deal: int) -> list[Episode]:
    """The batches with the labels of all of them shuffled."""
    generator = torch.Generator().manual_seed(deal)
    targets = [one.target for one in batches if one.target is not None]
    pool = torch.cat(targets)
    pool = pool[torch.randperm(len(pool), generator=generator).to(pool.device)]
    parts = pool.split([len(target) for target in targets])
    return [replace(one, arguments=(part, *one.arguments[1:])) for one, part in zip(batches, parts, strict=True)]


def _is_aligned(episode: Episode) -> bool:
    target = episode.target
    return target is not None and target.dim() > 0 and target.shape[0] == episode.samples


# --- what the trained model does with its inputs


def inputs_away(specimen: Specimen) -> dict[str, Any]:
    """The loss of the model in the end on its batches, with the inputs swapped between samples, and with zeros."""
    batches = [one for one in specimen.episodes if one.target is not None and _is_aligned(one) and one.samples > 3]
    if not batches:
        return {"why": "batches of several samples with labels"}
    specimen.become(specimen.final)
    specimen.evaluating()
    swapped = [one.changed(partial(_rolled, one.samples)) for one in batches]
    zeros = [one.changed(torch.zeros_like) for one in batches]
    with torch.no_grad():
        outputs = [specimen.judged(one).double() for one in (batches[-1], swapped[-1])]
    size = float((outputs[0] - outputs[0].mean()).square().mean().sqrt())
    change = float((outputs[0] - outputs[1]).square().mean().sqrt())
    return {
        "samples": sum(one.samples for one in batches),
        "real": specimen.mean_loss(batches),
        "swapped": specimen.mean_loss(swapped),
        "zero": specimen.mean_loss(zeros),
        "change": change,
        "size": size,
    }


def _rolled(count: int, tensor: Tensor) -> Tensor:
    return tensor.roll(max(1, count // 2), 0) if tensor.dim() and tensor.shape[0] == count else tensor
