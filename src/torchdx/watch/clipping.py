"""Clipping of gradients: by what bound, at what norm, and at what moment between two steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.amp import GradScaler

from torchdx.watch.places import user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import number

_MOST = 16


class Clipping:
    """Sees gradients clipped, and whether they exist yet and are scaled at that moment."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.backwards = 0
        self._scale: float | None = None
        self._clip: tuple[float, float, int, float] | None = None
        self._places: set[str] = set()
        session.weave(torch.nn.utils.clip_grad_norm_, after=self._clipped_norm)
        session.weave(torch.nn.utils.clip_grad_value_, after=self._clipped_value)
        session.weave(GradScaler.scale, after=self._scaled)
        session.weave(GradScaler.unscale_, after=self._unscaled)

    def begin(self) -> None:
        """A step is over: what is clipped from now on is clipped for the next."""
        self.backwards, self._clip = 0, None

    def told(self) -> tuple[float, float, int, float] | None:
        """The severest clipping since: norm, bound, backward passes before it, and the scale still on the gradients."""
        return self._clip

    def _scaled(self, _: Any, scaler: GradScaler, *__: Any) -> None:
        scale = scaler._scale if scaler.is_enabled() else None
        self._scale = number(scale) if scale is not None and scale.device.type == "cpu" else None

    def _unscaled(self, *_: Any) -> None:
        self._scale = None

    def _clipped_norm(self, total: Any, _: Any, bound: Any, *__: Any) -> None:
        if self.session.asleep:
            return
        if isinstance(total, Tensor) and total.device.type == "cpu" and total.numel() == 1:
            self._note("norm", number(total), float(bound))

    def _clipped_value(self, _: Any, __: Any, bound: Any, *___: Any) -> None:
        if self.session.asleep:
            return
        if isinstance(bound, int | float):  # a tensor may be on an accelerator, which is not waited for
            self._note("value", float("nan"), float(bound))

    def _note(self, what: str, norm: float, bound: float) -> None:
        place = user_place(3)
        if str(place) not in self._places and len(self._places) < _MOST:
            self._places.add(str(place))
            self.session.write("clipping", what=what, site=place, bound=bound)
        before = self._clip or (float("nan"), bound, 0, 0.0)
        severe = norm * before[1] >= before[0] * bound or before[0] != before[0]
        self._clip = (
            *((norm, bound) if severe else before[:2]),
            max(self.backwards, before[2]),
            max(self._scale or 1.0, before[3]),
        )
