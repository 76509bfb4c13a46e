"""What goes wrong: values that are not finite, and warnings."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.places import is_user_code, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, number

_NODES = 4000
_MOST_WARNINGS = 50


class Trouble:
    """Finds where the first NaN or infinity came from, the moment a loss shows one, and keeps warnings."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._found = False
        self._warnings = 0
        session.weave(torch.autograd.backward, before=self._backward)
        self._keep_warnings()

    def _backward(self, tensors: Any, *_: Any) -> None:
        root = tensors if isinstance(tensors, Tensor) else next(iter(tensors), None)
        if self._found or not isinstance(root, Tensor) or root.device.type != "cpu" or root.numel() != 1:
            return
        value = number(root)
        if math.isfinite(value):
            return
        self._found = True
        with self.session.governor.look():
            self.session.write(
                "nonfinite",
                step=self.session.step + 1,
                what="loss",
                value=value,
                site=user_place(2),
                origin=first_nonfinite(root),
            )

    def _keep_warnings(self) -> None:
        """See warnings where Python formats them: whoever replaced `showwarning` is left alone."""
        show = warnings._showwarnmsg_impl  # type: ignore[attr-defined]
        session = self.session

        def showing(message: Any) -> None:
            if session.active and self._warnings < _MOST_WARNINGS:
                self._warnings += 1
                place = [message.filename, message.lineno, 1, None, None]
                text = str(message.message)[:500]
                session.write("warning", text=text, category=message.category.__name__, site=place)
            show(message)

        warnings._showwarnmsg_impl = showing  # type: ignore[attr-defined]


def first_nonfinite(root: Tensor) -> dict[str, Any] | None:
    """The earliest operation of the graph behind `root` that took finite numbers and gave others.

    Goes by what autograd saved for the backward pass. Told are the operation, which of its operands was saved, the
    operand's range, and whether parameters are themselves non-finite already. None where nothing saved says more.
    """
    found: dict[str, Any] | None = None
    spoilt = 0
    queue, seen = [root.grad_fn], {root.grad_fn}
    for _ in range(_NODES):
        if not queue:
            break
        node = queue.pop(0)
        if node is None:
            continue
        parameter = getattr(node, "variable", None)
        if isinstance(parameter, Tensor) and not bool(torch.isfinite(parameter.detach()).all()):
            spoilt += 1
        told = _suspect(node)
        if told:
            found = told  # breadth first from the loss: the last one found lies earliest in the forward pass
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                queue.append(parent)
    if found is None and not spoilt:
        return None
    return {**(found or {}), "nonfinite_parameters": spoilt}


_RESULTS = ("_saved_result",)
_OPERANDS = ("_saved_self", "_saved_other", "_saved_exponent", "_saved_mat1", "_saved_input")
_TOUCHY = ("Log", "Div", "Sqrt", "Rsqrt", "Pow", "Exp", "Reciprocal", "Norm", "Acos", "Asin", "Cross", "NllLoss")


def _suspect(node: Any) -> dict[str, Any] | None:
    name = node.name()
    if not name.startswith(_TOUCHY):
        return None
    for attribute in (*_RESULTS, *_OPERANDS):
        saved = getattr(node, attribute, None)
        if not isinstance(saved, Tensor) or not is_plain(saved):
            continue
        values = saved.detach()
        finite = bool(torch.isfinite(values).all())
        low, high = (end.item() for end in torch.aminmax(values))
        outside = attribute not in _RESULTS and finite and _breaks(name, attribute, low, high)
        overflow = attribute in _RESULTS and not finite
        if outside or overflow:
            return {"operation": name, "operand": attribute.removeprefix("_saved_"), "min": low, "max": high}
    return None


def _breaks(name: str, attribute: str, low: float, high: float) -> bool:
    """Does this operation give NaN or infinity for an operand of this range?"""
    if name.startswith(("Log", "Sqrt", "Rsqrt")) and attribute == "_saved_self" and not name.startswith("LogS"):
        return low < 0 or (low == 0 and not name.startswith("Sqrt"))
    if name.startswith(("Div", "Reciprocal")):
        return attribute in ("_saved_other", "_saved_self") and low <= 0 <= high
    if name.startswith("Exp"):
        return high > 88.7
    return False


__all__ = ["Trouble", "first_nonfinite", "is_user_code"]
