"""Gates that mix what a layer computes with what it was given, read off the autograd graph of one forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdx.watch.models import Models
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, sample, saved

MOST = 3000
"""Nodes of a graph that are gone through."""

_FEWEST = 4
_RESHAPES = ("ViewBackward", "UnsafeViewBackward", "ReshapeAlias", "TransposeBackward", "TBackward", "PermuteBackward")


class Highways:
    """Finds y = H T + x (1 - T) with a sigmoid T of x, once for each model."""

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._seen: set[int] = set()

    def look(self, number: int, output: Any) -> None:
        """Go through the graph of this model's output, and write down the gates in it and how open they are."""
        root = output.grad_fn if isinstance(output, Tensor) else None
        if root is None or number in self._seen:
            return
        self._seen.add(number)
        gates: dict[int, tuple[Tensor, bool]] = {}
        for node in _sums(root):
            found = _gate(node)
            if found is not None:
                weight, values, transforms = found
                gates.setdefault(self.models.parameter_number(weight), (values, transforms))
        if len(gates) < _FEWEST:
            return
        step = self.session.step + 1
        shares = torch.stack([v.mean() if transforms else 1 - v.mean() for v, transforms in gates.values()])
        self.session.mail.send(
            shares,
            lambda values: self.session.write(
                "highway", step=step, module=number, gates=dict(zip(map(str, gates), values, strict=True))
            ),
        )


def _sums(root: Any) -> list[Any]:
    """Every sum of two products in the graph, the last first."""
    ahead, known, found = [root], {root}, []
    while ahead and len(known) < MOST:
        node = ahead.pop()
        below = _below(node)
        if node.name() == "AddBackward0" and [n.name() for n in below if n is not None] == ["MulBackward0"] * 2:
            found.append(node)
        new = [n for n in below if n is not None and n not in known]
        known.update(new)
        ahead += new
    return found


def _below(node: Any) -> list[Any]:
    return [parent for parent, _ in node.next_functions]


def _gate(node: Any) -> tuple[Tensor, Tensor, bool] | None:
    """A weight of the gate T, a sample of T, and whether it lets through what is computed (else: what was given)."""
    products = [_below(product) for product in _below(node)]
    for product, other in (products, products[::-1]):
        gate = next((n for n in product if n is not None and n.name() == "SigmoidBackward0"), None)
        rest = next((n for n in other if n is not None and n.name().startswith("RsubBackward")), None)
        if gate is None or rest is None or gate not in _below(rest):
            continue
        made, result = _through(_below(gate)[0]), saved(gate, "_saved_result")
        weights = [n.variable for n in map(_through, _below(made)) if hasattr(n, "variable")] if made else []
        matrix = next((w for w in weights if w.dim() > 1), None)
        if matrix is None or result is None or not is_plain(result):
            return None
        given = next((n for n in map(_through, _below(made)) if not hasattr(n, "variable")), None)
        kept, computed = ([_through(n) for n in p if n is not g] for p, g in ((other, rest), (product, gate)))
        if (given in kept) == (given in computed):
            return None
        return matrix, sample(result), given in kept
    return None


def _through(node: Any) -> Any:
    """The operation that made this, seen through those that only reshape."""
    while node is not None and node.name().startswith(_RESHAPES):
        node = _below(node)[0]
    return node
