"""Penalties on weights or activations that are added to a loss: how much of what `backward` is called on they are."""

from __future__ import annotations

from typing import Any

import torch

from torchdx.watch.pace import Pace
from torchdx.watch.places import user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import number, saved
from torchdx.watch.worth import worth_of

_MOST = 6000
"""Nodes of a graph that are walked, of a penalty's sum over a hundred parameters' squares a few hundred."""

_MOST_MISSED = 4
"""Objectives in a row without a penalty, after which none is looked for."""

_FEW = 64
"""Nodes of a penalty on activations."""

FORWARD = ("Addmm", "Mm", "Bmm", "Baddbmm", "Convolution", "Embedding", "Rnn", "NativeDropout", "ScaledDot", "Cudnn")
"""Operations that a model's output is made by, and a penalty on its weights is not."""

_NORMALISED = ("NativeLayer", "NativeBatch", "NativeGroup")
_NONLINEAR = ("Tanh", "Sigmoid", "Relu", "LeakyRelu", "Gelu", "Silu", "Elu", "Softplus")
"""Activations; what a penalty is made of ends below them, at one of the operations above."""

_PLAIN = ("Abs", "Pow", "Mean", "Sum", "Mul", "Div", "Neg", "Sqrt", "Norm", "LinalgVectorNorm", "Sub", "Add", "Slice")
_RESHAPED = ("Select", "Index", "View", "Unsqueeze", "Squeeze", "Transpose", "Permute", "T", "Reshape", "UnsafeView")
_COPIED = ("Clone", "ToCopy", "Split", "Unbind", "Expand", "Stack", "Cat", "Max", "Min")
"""What a penalty is computed by."""

_SAME = ("ToCopyBackward0", "ViewBackward0", "SqueezeBackward0", "ReshapeAliasBackward0", "UnsqueezeBackward0")
_LEAF = "torch::autograd::AccumulateGrad"


class Penalties:
    """Takes apart, from time to time, the sum that `backward` is called on: penalties, and what is left, the loss.

    A penalty depends on parameters alone: its graph ends in parameters only, and holds no operation of a model. Or on
    activations alone, as for sparse codes: no data enter it but through the model.
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
                parts = _parts(root.grad_fn)
            except RuntimeError:  # what a node saved is gone, or was changed in place
                parts = None
            if parts is None:
                self._pace.missed()
                return
            self._pace.found()
            penalty, terms, active = parts
            told: dict[str, Any] = {"activations": True} if active else {}
            objective = number(root)
            told |= {"objective": objective, "losses": objective - penalty, "penalty": penalty, "terms": terms}
            self.session.write("penalty", step=self.session.step + 1, site=user_place(2), **told)


def _parts(root: Any) -> tuple[float, int, bool] | None:
    """What penalties add to the sum, the count of them, and whether one of these is on activations.

    None where no penalty is part of the sum, or nothing else is.
    """
    total, terms, budget, activations = 0.0, 0, _MOST, False
    ahead: list[tuple[Any, float]] = [(root, 1.0)]
    others = 0
    while ahead:
        node, factor = ahead.pop()
        budget -= 1
        inner = terms_of(node, factor)
        if inner is not None:
            ahead += inner
            continue
        kind, used = _kind(node, budget)
        budget -= used
        value = worth_of(node) if kind else None
        if value is None or value.numel() != 1:
            others += 1
        elif factor:
            total, terms, activations = total + factor * float(value), terms + 1, activations or kind == "activations"
        if budget < 0:
            return None
    return (total, terms, activations) if others and terms else None


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


def _kind(root: Any, most: int) -> tuple[str, int]:
    """What a term is a penalty on, "weights" or "activations", else "": data enter it; and how many nodes tell so."""
    seen, ahead = {root}, [root]
    found, picked, mixed, leaves = False, False, False, 0
    while ahead:
        node = ahead.pop()
        whole = node.name()
        name = whole.removeprefix("Unsafe").split("Backward")[0]
        if whole == _LEAF:
            if not isinstance(node.variable, torch.nn.Parameter):
                return "", len(seen)
            leaves += 1
            continue
        if whole.startswith((*FORWARD, *_NORMALISED)):
            found = True
            continue
        known = name in (*_PLAIN, *_RESHAPED, *_COPIED) or name in _NONLINEAR
        if not known or len(seen) > (_FEW if found else most) or not _is_free_of_data(name, node):
            return "", len(seen)
        picked |= name == "Index" or name in _NONLINEAR
        mixed |= name in ("Add", "Sub", "Mul", "Div") and _shape(node) != () and _mixes(node)
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                ahead.append(parent)
    if found:
        return "activations" if len(seen) <= _FEW else "", len(seen)
    return "weights" if leaves and not (picked and mixed) else "", len(seen)


def _mixes(node: Any) -> bool:
    below = [parent for parent, _ in node.next_functions]
    return None not in below and below[0] is not below[1]


def _is_free_of_data(name: str, node: Any) -> bool:
    """Is all that enters this operation computed from parameters, a number, or as large as the parameter it meets?"""
    below = [parent for parent, _ in node.next_functions]
    if None not in below:
        return True
    made = next((parent for parent in below if parent is not None), None)
    if name in ("Add", "Sub"):
        return made is not None and (_shape(node) == () == _shape(made) or _is_leaf_of(made, _shape(node)))
    if name in ("Mul", "Div"):
        other = saved(node, "_saved_other" if below[0] is not None else "_saved_self")
        return other is not None and (other.numel() == 1 or _is_leaf_of(made, tuple(other.shape)))
    return name not in ("Stack", "Cat") and below[0] is not None


def _is_leaf_of(node: Any, shape: tuple[int, ...] | None) -> bool:
    """Is this a parameter of such a shape, or computed from one element by element?"""
    for _ in range(4):
        if node.name() == _LEAF:
            return isinstance(node.variable, torch.nn.Parameter) and tuple(node.variable.shape) == shape
        if not node.name().startswith(("Pow", "Abs", "Sub", "Add")):
            return False
        node = next((parent for parent, _ in node.next_functions if parent is not None), None)
        if node is None:
            return False
    return False


def _shape(node: Any) -> tuple[int, ...] | None:
    """The shape of what an operation gave."""
    given = getattr(node, "_input_metadata", None)
    return tuple(given[0].shape) if given else None
