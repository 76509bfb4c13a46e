"""Trouble that shows itself while training runs: losses that are not finite, and warnings."""

from __future__ import annotations

import math
import re
import traceback
import warnings
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.lines import Lines, user_line
from torchdx.watch.models import Models
from torchdx.watch.origin import first_nonfinite
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session, last_error
from torchdx.watch.tensors import is_plain, number, root_of

_MOST_WARNINGS = 50
_REFUSED = re.compile(
    r"\b(nan|nans|inf|infs|infinity|infinite|non-?finite|not finite)\b|between 0 and 1|found invalid values"
    r"|probability tensor contains",
    re.IGNORECASE,
)
"""What errors say that are raised because of values that are not finite, among others."""


class Trouble:
    """Finds where the first NaN or infinity came from, the moment a loss shows one, and keeps warnings."""

    def __init__(self, session: Session, models: Models, lines: Lines) -> None:
        self.session = session
        self.models = models
        self.lines = lines
        self._found = False
        self._warnings = 0
        session.weave(torch.autograd.backward, before=self._backward)
        session.at_end.append(self._last_words)
        self._keep_warnings()

    def _backward(self, tensors: Any, *_: Any) -> None:
        root = root_of(tensors)
        if root is None or root.device.type != "cpu" or root.numel() != 1:
            return
        if not self._found and not math.isfinite(number(root)):
            self._found = True
            with self.session.governor.look():
                self._tell(root)

    def _tell(self, root: Tensor) -> None:
        origin, node, parameters = first_nonfinite(root)
        origin["parameters"] = [self.models.parameter_number(p) for p in parameters[:4]]
        value, place = number(root), user_place(3)
        step = self.session.step + 1
        self.session.write("nonfinite", step=step, what="loss", value=value, site=place, origin=origin)
        if node is not None:
            self.lines.forget()  # whatever else was asked for
            self.lines.ask(root, node, lambda line: self._tell_line(origin["operation"], line))

    def _tell_line(self, operation: str, line: Place) -> None:
        self.session.write("nonfinite_line", operation=operation, site=line)

    def _last_words(self) -> None:
        """Look for NaN and infinity where torch, or a check of the program's own, refused them."""
        self.lines.forget()
        error = None if self._found else last_error()
        if error is None or not _REFUSED.search(str(error)):
            return
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        spoilt = next((found for frame in reversed(frames) if (found := _spoilt(frame)) is not None), None)
        if spoilt is not None:
            told: dict[str, Any] = {"cause": "input", "operation": None}
            parameters: list[Tensor] = []
            if spoilt.grad_fn is not None:
                told, _, parameters = first_nonfinite(spoilt)
            told["parameters"] = [self.models.parameter_number(p) for p in parameters[:4]]
            place = user_line(traceback.format_tb(error.__traceback__))
            step, text = self.session.step + 1, str(error)[:200]
            self.session.write("nonfinite", step=step, what="values", value=text, site=place, origin=told)

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


def _spoilt(frame: FrameType) -> Tensor | None:
    """A tensor with NaN or infinity among what a frame knows, best one that something was computed from."""
    known = [v for v in frame.f_locals.values() if isinstance(v, Tensor) and is_plain(v) and v.device.type == "cpu"]
    found = [v for v in known if v.is_floating_point() and not bool(torch.isfinite(v.detach()).all())]
    return next((v for v in found if v.grad_fn is not None), next(iter(found), None))
