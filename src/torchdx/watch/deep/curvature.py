"""The ends of the Hessian's spectrum, from products of the Hessian with vectors alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

PRODUCTS = 120
"""Hessian-vector products at most."""

CLOSE = 1e-2
"""Error of an end of the spectrum, as a share of the spectrum's extent, that is good enough."""

BASIS = 12
"""Vectors that span the space in which an end is looked for."""

EPSILON = 1e-6
"""Share of an eigenvalue that is rounding."""

SMALL = 32
"""Parameters of a model whose whole Hessian takes no more products than its ends would."""

MISSING = "scipy finds the curvature and is not installed: pip install 'torchdx[deep]'"

Product = Callable[[Tensor], Tensor]


class CannotMeasure(Exception):
    """Why there is no curvature, in words."""


@dataclass(frozen=True)
class Ends:
    """The greatest and the least eigenvalue, and a bound on the error of each."""

    greatest: float
    least: float
    greatest_error: float
    least_error: float
    products: int


def ends_of(product: Product, start: Tensor, in_time: Callable[[], bool]) -> Ends:
    """Both ends of the spectrum of a symmetric operator; raises CannotMeasure where they are not found.

    First the eigenvalue of the greatest size; then, with the operator shifted by it, the other end, whose error is
    thereby held against the spectrum's extent, however close to zero it lies.
    """
    counted = _Counted(product, start, in_time)
    if start.numel() <= SMALL:
        rows = torch.stack([counted.on(row) for row in torch.eye(start.numel(), device=start.device)])
        values = torch.linalg.eigvalsh((rows + rows.T).double() / 2)
        return Ends(float(values[-1]), float(values[0]), 0.0, 0.0, counted.products)
    far, far_error = counted.farthest(0.0)
    other, other_error = counted.farthest(far)
    (least, least_error), (greatest, greatest_error) = sorted([(far, far_error), (other, other_error)])
    return Ends(greatest, least, greatest_error, least_error, counted.products)


class _Counted:
    """An operator that counts its products, and gives up when they or the time are spent."""

    def __init__(self, product: Product, start: Tensor, in_time: Callable[[], bool]) -> None:
        self.product, self.start, self.in_time = product, start, in_time
        self.products = 0

    def on(self, vector: Tensor) -> Tensor:
        """The operator on a vector."""
        if self.products >= PRODUCTS or not self.in_time():
            raise CannotMeasure("the curvature was not found in time")
        self.products += 1
        image = self.product(vector)
        if not bool(torch.isfinite(image).all()):
            raise CannotMeasure("the curvature is not finite")
        return image

    def farthest(self, shift: float) -> tuple[float, float]:
        """The eigenvalue that is farthest from `shift`, and its error: the residual of its vector."""
        try:
            from scipy.sparse import linalg
        except ImportError:
            raise CannotMeasure(MISSING) from None

        def shifted(array: Any) -> Any:
            vector = torch.from_numpy(array.astype("float32").reshape(-1)).to(self.start.device)
            return (self.on(vector) - shift * vector).cpu().numpy()

        count = self.start.numel()
        operator = linalg.LinearOperator((count, count), matvec=shifted, dtype="float32")
        begin = (self.start / self.start.norm()).float().cpu().numpy()
        if abs(shifted(begin)).max() <= EPSILON * abs(shift):  # the same in every direction: nothing is farther
            return shift, 0.0
        try:
            values, vectors = linalg.eigsh(operator, k=1, which="LM", v0=begin, ncv=BASIS, tol=CLOSE)
        except linalg.ArpackError as problem:
            raise CannotMeasure(f"the curvature was not found ({problem})") from problem
        residual = shifted(vectors[:, 0]) - values[0] * vectors[:, 0]
        return float(values[0]) + shift, float((residual**2).sum() ** 0.5)


def hessian_product(losses: Sequence[Callable[[], Tensor]], parameters: Sequence[nn.Parameter]) -> Product:
    """The product of a vector with the Hessian of the mean of these losses, by differentiating twice."""

    def product(vector: Tensor) -> Tensor:
        total = torch.zeros_like(vector)
        for loss in losses:
            gradient = flat_gradient(loss(), parameters, again=True)
            if gradient.requires_grad:
                total += flat_gradient(gradient @ vector, parameters)
        return total / len(losses)

    return product


def difference_product(losses: Sequence[Callable[[], Tensor]], parameters: Sequence[nn.Parameter]) -> Product:
    """The same by central differences of gradients, for operations that can be differentiated only once."""
    size = torch.stack([p.detach().float().norm() for p in parameters]).norm()

    def product(vector: Tensor) -> Tensor:
        width = float(1e-3 * (size + 1) / vector.norm().clamp_min(1e-30))
        sides = []
        for sign in (1.0, -2.0):
            _shift(parameters, vector, sign * width)
            sides.append(sum((flat_gradient(loss(), parameters) for loss in losses), torch.zeros_like(vector)))
        _shift(parameters, vector, width)
        return (sides[0] - sides[1]) / (2 * width * len(losses))

    return product


def _shift(parameters: Sequence[nn.Parameter], vector: Tensor, by: float) -> None:
    with torch.no_grad():
        at = 0
        for p in parameters:
            p.add_(vector[at : at + p.numel()].view_as(p).to(p.dtype), alpha=by)
            at += p.numel()


def flat_gradient(loss: Tensor, parameters: Sequence[nn.Parameter], again: bool = False) -> Tensor:
    """The gradient as one vector; with `again`, it can be differentiated once more."""
    found = torch.autograd.grad(loss, parameters, create_graph=again, allow_unused=True)
    parts = zip(found, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g.to_dense()).reshape(-1).float() for g, p in parts])
