"""Entropy that is added to an objective, as a bonus for a policy that explores: how much of it that makes up."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.pace import Pace
from torchdx.watch.penalties import FORWARD, terms_of
from torchdx.watch.places import user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import number, saved

_MOST = 400
"""Nodes gone through in search of an entropy, in each term."""

_MOST_FOUND = 64
_MOST_MISSED = 12
"""Objectives in a row without an entropy, after which none is looked for."""

_LOGARITHMS = ("LogSoftmaxBackward0", "LogsumexpBackward0", "LogBackward0")
_ELEMENTWISE = ("Clamp", "MaskedFill", "Where", "SubBackward", "NegBackward", "AddBackward", "ToCopy", "ViewBackward")


class Bonuses:
    """Finds the terms of what `backward` is called on that are -sum p log p of a softmax.

    From time to time, until the very end, as what counts is what becomes of them.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._pace = Pace(session, _MOST_MISSED)
        session.weave(torch.autograd.backward, before=self._backward)

    def _backward(self, tensors: Any, *_: Any) -> None:
        root = self._pace.objective(tensors)
        if root is None:
            return
        with self.session.governor.look():
            try:
                found = _bonus(root.grad_fn)
            except RuntimeError:  # what a node saved is gone, or was changed in place
                found = None
            if found is None:
                self._pace.missed()
                return
            self._pace.found()
            bonus, entropy, most = found
            told = {"objective": number(root), "bonus": bonus, "entropy": entropy, "most": most}
            self.session.write("bonus", step=self.session.step + 1, site=user_place(2), **told)


def _bonus(root: Any) -> tuple[float, float, float] | None:
    """What entropies add to the sum, about; their mean, and the greatest that it could be."""
    total, entropies, most = 0.0, [], 0.0
    ahead: list[tuple[Any, float]] = [(root, 1.0)]
    seen = 0
    while ahead and seen < _MOST:
        node, factor = ahead.pop()
        seen += 1
        inner = terms_of(node, factor)
        if inner is not None:
            ahead += inner
            continue
        summed = node.name() == "SumBackward0"
        for weight, share, parts in _entropies(node):
            rows = weight.numel() // weight.shape[-1] if summed else 1 / parts
            entropy = float(torch.special.entr(weight).sum(-1).mean())
            total += factor * share * entropy * rows
            entropies.append(entropy)
            most = max(most, math.log(weight.shape[-1]))
    return (total, sum(entropies) / len(entropies), most) if entropies and most > 0 else None


def _entropies(root: Any) -> list[tuple[Tensor, float, int]]:
    """The probabilities p of each p log p above the model, the weight that a mask gives it, and their count."""
    found: list[tuple[Tensor, float]] = []
    queue, seen = [(root, 1.0)], {root}
    for node, share in queue:
        if len(seen) > _MOST or len(found) >= _MOST_FOUND:
            break
        if node.name().startswith(FORWARD):
            continue
        inner = [parent for parent, _ in node.next_functions if parent is not None]
        if node.name() == "MulBackward0":
            if (softmax := _surprise(node)) is not None:
                found.append((softmax, share))
                continue
            if len(inner) == 1:
                share *= _weight_of(node)
        for parent in inner:
            if parent not in seen and not hasattr(parent, "variable"):
                seen.add(parent)
                queue.append((parent, share))
    return [(softmax, share, len(found)) for softmax, share in found]


def _weight_of(node: Any) -> float:
    """The mean size of the constant that is multiplied with."""
    constant = saved(node, "_saved_other" if node.next_functions[0][0] is not None else "_saved_self")
    return float(constant.abs().float().mean()) if constant is not None and constant.device.type == "cpu" else 1.0


def _surprise(node: Any) -> Tensor | None:
    """The probabilities, where this is a softmax times its own logarithm."""
    sides = [_reached(parent) for parent, _ in node.next_functions if parent is not None]
    if len(sides) != 2:
        return None
    softmax = next((one for one in sides if one.name() == "SoftmaxBackward0"), None)
    other = next((one for one in sides if one is not softmax), None)
    if softmax is None or other is None or not other.name().startswith(_LOGARITHMS):
        return None
    result = saved(softmax, "_saved_result")
    return result.detach() if result is not None and result.dim() and result.shape[-1] > 1 else None


def _reached(node: Any) -> Any:
    """The softmax or logarithm that a factor is, seen through what is done to each of its elements."""
    for _ in range(6):
        if node.name() == "SoftmaxBackward0" or node.name().startswith(_LOGARITHMS):
            return node
        if not node.name().startswith(_ELEMENTWISE):
            return node
        inner = [parent for parent, _ in node.next_functions if parent is not None]
        if not inner:
            return node
        node = next((one for one in inner if one.name().startswith(_LOGARITHMS)), inner[0])
    return node
