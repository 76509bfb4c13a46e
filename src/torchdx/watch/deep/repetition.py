"""The same batch twice: in evaluation mode, where nothing may change, and once more in training mode."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from torchdx.watch.deep.passage import parting, passage
from torchdx.watch.deep.specimen import Specimen
from torchdx.watch.models import walk

_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


def repetition(specimen: Specimen) -> dict[str, Any]:
    """How far two evaluations of one batch are apart, and in which layer they part."""
    episode = specimen.episodes[-1]
    specimen.become(specimen.final)
    specimen.evaluating()
    specimen.fixed = False
    with torch.no_grad():
        first, second = (specimen.judged(episode).detach().double() for _ in range(2))
    size = float(first.square().mean().sqrt())
    apart = float((first - second).square().mean().sqrt())
    if not math.isfinite(size):
        return {"why": "the model's output is not finite"}
    layer = None
    if apart:
        layer = parting(passage(specimen, episode), passage(specimen, episode), lambda output: output)
    return {"difference": apart / size if size > 0 else apart, "layer": specimen.number(layer)}


def modes_apart(specimen: Specimen) -> dict[str, Any]:
    """The loss of the kept batches with batch norm in training and in evaluation mode, dropout off in both."""
    norms = {n: m for n, m in walk(specimen.module) if isinstance(m, _BATCH_NORMS) and m.running_var is not None}
    if not norms:
        return {"norms": 0}
    specimen.become(specimen.final)
    specimen.evaluating()
    seen = [int(m.num_batches_tracked) for m in norms.values() if m.num_batches_tracked is not None]
    evaluated = specimen.mean_loss(specimen.episodes)
    shifts = _shifts(specimen, norms)
    for module in norms.values():
        module.training = True
    trained = specimen.mean_loss(specimen.episodes)
    layer = max(shifts, key=lambda name: shifts[name], default=None)
    return {
        "norms": len(norms),
        "batches": len(specimen.episodes),
        "samples": specimen.episodes[-1].samples,
        "updates": min(seen, default=None),
        "momentum": min((m.momentum for m in norms.values() if m.momentum is not None), default=None),
        "train": trained,
        "eval": evaluated,
        "layer": specimen.number(layer),
        "shift": shifts.get(layer) if layer is not None else None,
    }


def _shifts(specimen: Specimen, norms: Mapping[str, nn.Module]) -> dict[str, float]:
    """How far each batch norm's running statistics are from those of a batch, in standard deviations."""
    shifts: dict[str, float] = {}
    hooks = []
    for name, norm in norms.items():

        def hook(module: Any, inputs: tuple[Any, ...], name: str = name) -> None:
            x = inputs[0].detach().float()
            dims = [d for d in range(x.dim()) if d != 1]
            var, mean = torch.var_mean(x, dims)
            off = (mean - module.running_mean).square() / (var + module.eps)
            off = off + (((module.running_var + module.eps) / (var + module.eps)).log() / 2).square()
            shifts[name] = max(shifts.get(name, 0.0), float(off.mean().sqrt()))

        hooks.append(norm.register_forward_pre_hook(hook))
    try:
        specimen.mean_loss(specimen.episodes[-1:])
    finally:
        for one in hooks:
            one.remove()
    return shifts
