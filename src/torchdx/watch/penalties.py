"""Penalties on weights or activations that are added to a loss: how much of what `backward` is called on they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchdx.watch.losses import FUNCTIONS
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, number, root_of, saved

_MOST = 6000
"""Nodes of a graph that are walked, of a penalty's sum over a hundred parameters' squares a few hundred."""

_MOST_LOOKS = 64

_FEW = 64
"""Nodes of a penalty on activations."""

FORWARD = ("Addmm", "Mm", "Bmm", "Baddbmm", "Convolution", "Embedding", "Rnn", "NativeDropout", "ScaledDot", "Cudnn")
"""Operations that a model's output is made by, and a penalty on its weights is not."""

_NONLINEAR = ("Tanh", "Sigmoid", "Relu", "LeakyRelu", "Gelu", "Silu", "Elu", "Softplus", "NativeLayer", "NativeBatch")
"""Activations, at which what a penalty is made of ends, as at one of the operations above."""

_PLAIN = ("Abs", "Pow", "Mean", "Sum", "Mul", "Div", "Neg", "Sqrt", "Norm", "LinalgVectorNorm", "Sub", "Add", "Slice")
_RESHAPED = ("Select", "Index", "View", "Unsqueeze", "Squeeze", "Transpose", "Permute", "T", "Reshape", "UnsafeView")
_COPIED = ("Clone", "ToCopy", "Split", "Unbind", "Expand", "Stack", "Cat")
"""What a penalty on activations is computed by."""

_SAME = ("ToCopyBackward0", "ViewBackward0", "SqueezeBackward0", "ReshapeAliasBackward0", "UnsqueezeBackward0")


class Penalties:
    """Takes apart, at a look, the sum that `backward` is called on: loss functions' values, and what is left.

    What is left is a penalty where it depends on parameters alone: its graph ends in parameters only, and holds no
    operation of a model. Or on activations alone, as for sparse codes: no data enter it but through the model.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._losses: dict[int, float] = {}
        self._step = -1
        self._left = _MOST_LOOKS
        for name in FUNCTIONS:
            session.weave(getattr(functional, name), after=self._called)
        session.weave(torch.autograd.backward, before=self._backward)

    def _called(self, result: Any, *_: Any) -> None:
        if not self.session.looking or self._left <= 0 or not isinstance(result, Tensor) or result.grad_fn is None:
            return
        if self._step != self.session.step:
            self._losses.clear()
            self._step = self.session.step
        if result.numel() == 1 and result.device.type == "cpu" and is_plain(result):
            self._losses[result.grad_fn._sequence_nr()] = number(result)

    def _backward(self, tensors: Any, *_: Any) -> None:
        root = root_of(tensors)
        if not self.session.looking or not self._losses or root is None or root.grad_fn is None:
            return
        if root.numel() != 1 or root.device.type != "cpu" or root.grad_fn._sequence_nr() in self._losses:
            return
        with self.session.governor.look():
            try:
                parts = _parts(root.grad_fn, self._losses)
            except RuntimeError:  # what a node saved is gone, or was changed in place
                parts = None
            if parts is not None:
                self._left -= 1
                self._write(number(root), *parts, user_place(2))
        self._losses.clear()

    def _write(
        self, objective: float, losses: float, weight: float, terms: int, active: bool, place: Place | None
    ) -> None:
        told = {"objective": objective, "losses": losses, "penalty": objective - losses, "scale": weight}
        if active:
            told["activations"] = True
        self.session.write("penalty", step=self.session.step + 1, site=place, terms=terms, **told)


def _parts(root: Any, losses: dict[int, float]) -> tuple[float, float, int, bool] | None:
    """The weighted sum of the loss functions' values, their weight, the count of other terms, all penalties, and
    whether one of these is on activations.

    None where no loss function or no penalty is part of the sum, or anything else is.
    """
    total, weight, terms, budget, activations = 0.0, 0.0, 0, _MOST, False
    ahead: list[tuple[Any, float]] = [(root, 1.0)]
    rest: list[Any] = []
    while ahead:
        node, factor = ahead.pop()
        budget -= 1
        value = losses.get(node._sequence_nr())
        if value is not None:
            total, weight = total + factor * value, max(weight, abs(factor))
            continue
        inner = terms_of(node, factor)
        if inner is None:
            rest.append(node)
        else:
            ahead += inner
        if budget < 0 or len(rest) > _MOST // 4:
            return None
    for node in rest:
        used = _walk(node, budget)
        if used is None:
            used, activations = _walk_activations(node), True
        if used is None:
            return None
        budget -= used
        terms += 1
    return (total, weight, terms, activations) if weight and terms else None


def terms_of(node: Any, factor: float) -> list[tuple[Any, float]] | None:
    """The terms of a sum, each with its factor; None where the node is no sum."""
    name = node.name()
    below = [parent for parent, _ in node.next_functions]
    if name in ("AddBackward0", "SubBackward0"):
        alpha = float(node._saved_alpha) * (-1.0 if name == "SubBackward0" else 1.0)
        return [(n, factor * f) for n, f in zip(below, (1.0, alpha), strict=True) if n is not None]
    if name in ("MulBackward0", "DivBackward0") and sum(n is not None for n in below) == 1:
        first = below[0] is not None
        if name == "DivBackward0" and not first:
            return None
        number_ = saved(node, "_saved_other" if first else "_saved_self")
        if number_ is None or number_.numel() != 1 or number_.device.type != "cpu":
            return None
        by = float(number_)
        return [(below[0] if first else below[1], factor * by if name == "MulBackward0" else factor / by)]
    if name == "NegBackward0":
        return [(below[0], -factor)]
    return [(below[0], factor)] if name in _SAME else None


def _walk_activations(root: Any) -> int | None:
    """How many nodes lie between a term and the activations that it is made of; None where data may enter otherwise."""
    seen, ahead, found = {root}, [root], False
    while ahead:
        node = ahead.pop()
        name = node.name().removeprefix("Unsafe").split("Backward")[0]
        if node.name().startswith((*FORWARD, *_NONLINEAR)):
            found = True
            continue
        if name not in (*_PLAIN, *_RESHAPED, *_COPIED) or len(seen) > _FEW or not _is_free_of_data(name, node):
            return None
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                ahead.append(parent)
    return len(seen) if found else None


def _is_free_of_data(name: str, node: Any) -> bool:
    """Is all that enters this operation computed from parameters, or a number?"""
    below = [parent for parent, _ in node.next_functions]
    if name in ("Add", "Sub", "Stack", "Cat"):
        return all(parent is not None for parent in below)
    if name in ("Mul", "Div") and below[0] is not None and below[1] is None:
        other = saved(node, "_saved_other")
        return other is not None and other.numel() == 1
    return below[0] is not None


def _walk(root: Any, most: int) -> int | None:
    """How many nodes a graph has whose leaves are all parameters; None where it is a model's, or too large."""
    seen = {root}
    ahead = [root]
    while ahead:
        node = ahead.pop()
        if node.name().startswith(FORWARD) or len(seen) > most:
            return None
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                ahead.append(parent)
    leaves = [node for node in seen if not node.next_functions]
    whole = all(isinstance(getattr(leaf, "variable", None), torch.nn.Parameter) for leaf in leaves)
    return len(seen) if whole and leaves else None
