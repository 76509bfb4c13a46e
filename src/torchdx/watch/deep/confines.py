"""Between what bounds a model's output stays whatever its last weights are, and how many targets lie outside."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from torchdx.watch.bounds import ends_in, share_beyond
from torchdx.watch.deep.specimen import Specimen

REGRESSIONS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
"""Losses that compare numbers with numbers."""

SIZES = (1.0, 10.0, 100.0, 1000.0)
"""Deviations of the weights drawn: beyond a bound of the first two the others must not come."""

SLACK = 0.02
"""Share of the targets' deviation by which they may: some bounds are only come near to."""

DRAWS = 4
"""Draws of each size."""

_MAY_BOUND = ("Sin", "Cos", "Atan", "Erf", "Where", "Round", "Mul", "Div", "Abs", "Pow")
"""Operations that an activation written by hand may end in."""

_LAYERS = ("Addmm", "Mm", "Linear", "Convolution")
_MOST_NODES = 24


def output_bounds(specimen: Specimen) -> dict[str, Any]:
    """The least and the greatest of what comes out of a last layer drawn anew, where larger weights change neither.

    Only where the last operation is the program's own, or one that torch's activations do not end in.
    """
    first, episode = specimen.first, specimen.episodes[-1]
    if first.name not in REGRESSIONS or first.target is None or not first.target.is_floating_point():
        return {"why": "the loss is no regression"}
    specimen.become(specimen.final)
    specimen.evaluating()
    ending = ends_in(specimen.judged(episode).grad_fn)
    own = isinstance(ending, BackwardCFunction)
    if not own and not ending.name().startswith(_MAY_BOUND):
        return {"why": "the last operation is known"}
    drawn = _last_weights(ending)
    if not drawn:
        return {"why": "it is not made of one layer alone"}
    lows, highs = zip(*(_extremes(specimen, drawn, size) for size in SIZES), strict=True)
    slack = SLACK * float(first.target.std(correction=0)) + 1e-6
    low = min(lows) if min(lows[2:]) >= min(lows[:2]) - slack else -math.inf
    high = max(highs) if max(highs[2:]) <= max(highs[:2]) + slack else math.inf
    told = {"low": low if math.isfinite(low) else None, "high": high if math.isfinite(high) else None}
    if told == {"low": None, "high": None} or high - low <= slack:
        return {"why": "its output has no bounds"}
    name = type(ending).__name__.removesuffix("Backward") if own else ending.name().removesuffix("Backward0").lower()
    goal = first.target.detach()
    return {"by": name, **told, "beyond": share_beyond(goal, low, high), "targets": goal.numel()}


def _last_weights(ending: Any) -> list[Tensor]:
    """The parameters of the layer that alone, and through no other parameter, leads to this operation."""
    queue, layers = [ending], set()
    for node in queue:
        if node.name().startswith(_LAYERS):
            layers.add(node)
            continue
        above = [parent for parent, _ in node.next_functions if parent is not None and parent not in queue]
        if any(hasattr(parent, "variable") for parent in above) or len(queue) > _MOST_NODES:
            return []
        queue += above
    found = []
    for parent in [parent for layer in layers for parent, _ in layer.next_functions if parent is not None]:
        leaf = parent.next_functions[0][0] if parent.name().startswith("T") and parent.next_functions else parent
        found += [leaf.variable] if hasattr(leaf, "variable") else []
    return found if len(layers) == 1 else []


def _extremes(specimen: Specimen, drawn: list[Tensor], size: float) -> tuple[float, float]:
    """The least and the greatest output over weights drawn with this deviation; without end where one is no number."""
    outputs = []
    with torch.no_grad():
        for seed in range(DRAWS):
            generator = torch.Generator().manual_seed(seed)
            for parameter in drawn:
                parameter.copy_(_drawn(parameter, size, generator))
            outputs.append(specimen.judged(specimen.episodes[-1]).detach().flatten())
    values = torch.cat(outputs)
    return (float(values.min()), float(values.max())) if bool(values.isfinite().all()) else (-math.inf, math.inf)


def _drawn(parameter: Tensor, size: float, generator: torch.Generator) -> Tensor:
    return size * torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
