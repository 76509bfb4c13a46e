"""Is it a critical point, and of which kind? The gradient and the Hessian's ends, at first and in the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from torchdx.watch.deep.curvature import (
    CannotMeasure,
    Product,
    difference_product,
    ends_of,
    flat_gradient,
    hessian_product,
)
from torchdx.watch.deep.specimen import Specimen

CURVED = 4
"""Of the kept batches, those whose curvature is measured."""

LARGEST = 20_000_000
"""Parameters beyond which the vectors that curvature is found with take more than a gigabyte."""


def critical(specimen: Specimen, in_time: Callable[[], bool]) -> dict[str, Any]:
    """Gradient, its noise, and the extreme eigenvalues, over the kept steps, in both states of the model."""
    parameters = specimen.parameters
    count = sum(p.numel() for p in parameters)
    if count > LARGEST:
        return {"why": f"{count} parameters are too many for their curvature to be found here"}
    told: dict[str, Any] = {"batches": len(specimen.episodes), "parameters": count}
    for name, state in (("final", specimen.final), ("initial", specimen.initial)):
        specimen.become(state)
        specimen.steady()
        if all(bool(torch.isfinite(p).all()) for p in parameters) and in_time():
            try:
                told[name] = _measured(specimen, in_time)
            except CannotMeasure as problem:
                if name == "final":
                    return {"why": str(problem)}
    return told


def _measured(specimen: Specimen, in_time: Callable[[], bool]) -> dict[str, Any]:
    parameters = specimen.parameters
    losses = [partial(specimen.loss, episode) for episode in specimen.episodes]
    values, gradients = [], []
    for loss in losses:
        value = loss()
        values.append(float(value.detach()))
        gradients.append(flat_gradient(value, parameters))
    mean = torch.stack(gradients).mean(0)
    spread = sum(float((g - mean).square().sum()) for g in gradients)
    count = len(gradients)
    noise = (spread / (count - 1) / count) ** 0.5 if count > 1 else None
    with _differentiable():
        product = _product(losses[-CURVED:], specimen)
        start = _start(mean)
        ends = ends_of(product, start, in_time)
    return {
        "loss": sum(values) / count,
        "gradient": float(mean.norm()),
        "noise": noise,
        "greatest": ends.greatest,
        "greatest_error": ends.greatest_error,
        "least": ends.least,
        "least_error": ends.least_error,
        "products": ends.products,
    }


def _product(losses: Sequence[Callable[[], Tensor]], specimen: Specimen) -> Product:
    """By differentiating twice or, where some operation has no second derivative, by differences."""
    product = hessian_product(losses[:1], specimen.parameters)
    try:
        product(torch.ones(sum(p.numel() for p in specimen.parameters), device=specimen.device))
    except (RuntimeError, NotImplementedError):
        return difference_product(losses, specimen.parameters)
    return hessian_product(losses, specimen.parameters)


def _start(like: Tensor) -> Tensor:
    """A vector with a part in every direction, the same in each run, from a generator of our own."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(like.numel(), generator=generator).to(like.device)


@contextlib.contextmanager
def _differentiable() -> Iterator[None]:
    """Attention and recurrence in the forms that have second derivatives."""
    with (
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.cudnn.flags(enabled=False),
        torch.backends.mkldnn.flags(enabled=False),
    ):
        yield
