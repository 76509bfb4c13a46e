"""Softmax losses of similarities: how far a scale lets the logits go, and how low the loss can be for that."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdx.watch.lines import Lines
from torchdx.watch.mixtures import axis_of
from torchdx.watch.pace import Pace
from torchdx.watch.penalties import FORWARD
from torchdx.watch.places import Place, user_place
from torchdx.watch.products import LARGEST, product
from torchdx.watch.pulls import SAME, pulled
from torchdx.watch.session import Session
from torchdx.watch.tensors import number, saved

_NODES, _DEEPEST = 200, 16
_MOST_MISSED = 12
"""Objectives in a row without such a softmax, after which none is looked for."""

_OUT = 1e4
"""Logits that lie so far below a row's greatest are masked."""


class Flat(NamedTuple):
    """Logits none of which is further from zero than `bound`, how many are compared, and the last operation on them."""

    bound: float
    classes: int
    node: Any

    @property
    def floor(self) -> float:
        """The least cross entropy there can be: the right one at the upper bound, all others at the lower."""
        return math.log1p((self.classes - 1) * math.exp(-2 * self.bound))


class Similarities:
    """From time to time, looks whether a softmax in an objective is taken of products of vectors of one length."""

    def __init__(self, session: Session, lines: Lines) -> None:
        self.session = session
        self.lines = lines
        self._pace = Pace(session, _MOST_MISSED)
        session.weave(torch.autograd.backward, before=self._backward)

    def _backward(self, tensors: Any, *_: Any) -> None:
        root = self._pace.objective(tensors)
        if root is None:
            return
        step = self.session.step
        with self.session.governor.look():
            try:
                found, alike = next(flats(root.grad_fn), None), pulled(root.grad_fn)
            except RuntimeError:  # what a node saved is gone, or was changed in place
                found = alike = None
            if found is None and alike is None:
                self._pace.missed()
                return
            self._pace.found()
            place = user_place(2)
            if alike is not None:
                self.session.write("pull", step=step + 1, site=place, alike=max(alike), objective=number(root))
            if found is not None:
                self._tell(found, root, place)

    def _tell(self, found: Flat, root: Tensor, place: Place | None) -> None:
        told = {"bound": found.bound, "classes": found.classes, "floor": found.floor, "objective": number(root)}
        self.session.write("similarity", step=self.session.step + 1, site=place, **told)
        self.lines.ask_once("similarity_line", place, root, found.node)


def flats(root: Any) -> Iterator[Flat]:
    """Every softmax between a loss and its model whose logits are such products, times a number."""
    queue, seen = [root], {root}
    for node in queue:
        if len(queue) > _NODES or node.name().startswith(FORWARD):
            continue
        if (found := _flat(node)) is not None:
            yield found
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen and not hasattr(parent, "variable"):
                seen.add(parent)
                queue.append(parent)


def _flat(node: Any) -> Flat | None:
    name = node.name()
    if name == "LogSoftmaxBackward0":
        logits = saved(node, "_saved_result")
        return _of_softmax(logits, node._saved_dim, node.next_functions[0][0])
    if name in ("SubBackward0", "AddBackward0"):  # log p = s - logsumexp(s)
        sides = [parent for parent, _ in node.next_functions if parent is not None]
        summed = [one for one in sides if _bare(one).name() == "LogsumexpBackward0"]
        if len(sides) == 2 and len(summed) == 1:
            other = next(one for one in sides if one is not summed[0])
            inner = _bare(summed[0])
            if bound_of(other) is not None and len(inner._saved_dim) == 1:
                return _of_softmax(saved(inner, "_saved_self"), inner._saved_dim[0], inner.next_functions[0][0])
    return _of_sum(node) if name in ("LogBackward0", "Log10Backward0") else None


def _of_softmax(logits: Tensor | None, dim: int, made: Any) -> Flat | None:
    """Logits, or log-probabilities, which differ by as much."""
    if logits is None or made is None or logits.device.type != "cpu" or not 1 < logits.numel() <= LARGEST:
        return None
    bound = bound_of(made)
    if bound is None or not logits.dim():
        return None
    rows = logits.detach().movedim(axis_of(dim, logits.dim()), -1).reshape(-1, logits.shape[axis_of(dim, logits.dim())])
    top = rows.max(1, keepdim=True).values
    kept = rows > top - _OUT
    widest = float((top - rows.masked_fill(~kept, math.inf).min(1, keepdim=True).values).max())
    classes = int(kept.sum(1).min())
    return Flat(bound, classes, _bare(made)) if classes > 1 and widest <= 2.001 * bound + 1e-4 else None


def _of_sum(node: Any) -> Flat | None:
    """log(e^s / sum(e^s)), or the logarithm of the sum alone."""
    below = _bare(node.next_functions[0][0]) if node.next_functions[0][0] is not None else None
    if below is not None and below.name() == "DivBackward0" and below.next_functions[1][0] is not None:
        below = _bare(below.next_functions[1][0])
    if below is None or below.name() != "SumBackward1" or len(below._saved_dim) != 1:
        return None
    sizes = tuple(below._saved_self_sym_sizes)
    inner = below.next_functions[0][0]
    while inner is not None and inner.name() in ("MulBackward0", *(f"{one}0" for one in SAME)):
        parents = [parent for parent, _ in inner.next_functions if parent is not None]
        inner = parents[0] if len(parents) == 1 else None
    if inner is None or inner.name() != "ExpBackward0" or inner.next_functions[0][0] is None:
        return None
    bound = bound_of(inner.next_functions[0][0])
    classes = sizes[axis_of(below._saved_dim[0], len(sizes))] - 1  # one may be the sample itself, masked
    return Flat(bound, classes, _bare(inner.next_functions[0][0])) if bound is not None and classes > 1 else None


def _bare(node: Any) -> Any:
    """What made it, seen through views, parts, and shifts by what has no graph."""
    for _ in range(_DEEPEST):
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if not node.name().startswith((*SAME, "NegBackward")) or len(parents) != 1:
            break
        node = parents[0]
    return node


def bound_of(node: Any, depth: int = 0) -> float | None:
    """How far from zero products of vectors of one length, times a number, can be; None of anything else.

    A shift by the same number for all leaves a softmax as it is; one by others is seen in how far the logits go.
    """
    node = _bare(node)
    parents = [parent for parent, _ in node.next_functions if parent is not None]
    name = node.name()
    if depth > _DEEPEST:
        return None
    if name.startswith("CatBackward") and parents:
        bounds = [bound_of(parent, depth + 1) for parent in parents]
        known = [one for one in bounds if one is not None]
        return max(known) if len(known) == len(bounds) else None
    if name in ("MulBackward0", "DivBackward0") and len(parents) == 1:
        factor = saved(node, "_saved_other" if node.next_functions[0][0] is not None else "_saved_self")
        inner = bound_of(parents[0], depth + 1)
        if factor is None or factor.numel() != 1 or inner is None or not float(factor):
            return None
        return inner * abs(float(factor)) if name[0] == "M" else inner / abs(float(factor))
    return product(node)
