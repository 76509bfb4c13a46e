"""Mixed precision: scalers, their scale and the steps that they skip; and gradients in float16 without one."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.nn import functional

from torchdx.watch.gradients import Gradients
from torchdx.watch.losses import FUNCTIONS
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import number, sample

_RECENT = 32
"""Steps of a scaler over which skipped ones are counted together."""

_MOST = 16

LEAST = 2.0**-14
"""The least number that float16 holds with all of its digits; below, each halving costs one."""


@dataclass
class Career:
    """What one scaler did so far."""

    id: int
    scaler: weakref.ref[GradScaler]
    place: Place | None
    steps: int = 0
    skips: int = 0
    row: int = 0
    recent: int = 0
    scale: float | None = None


class Scalers:
    """Counts the steps that each gradient scaler takes or skips, and tells of them ever more seldom."""

    def __init__(self, session: Session, gradients: Gradients) -> None:
        self.session = session
        self.models = gradients.models
        self._careers: dict[int, Career] = {}
        self._before = 0
        self._half = False
        session.weave(GradScaler._maybe_opt_step, before=self._begins, after=self._stepped)
        for name in FUNCTIONS:
            session.weave(getattr(functional, name), after=self._judged)
        session.at_end.append(self._ends)
        gradients.asked.append(self._look)

    # --- float16 without a scaler

    def _judged(self, _: Any, given: Any, *__: Any) -> None:
        """Does a loss come from float16, be it the model's own or that of autocast?"""
        if self.session.looking and not self._half and isinstance(given, Tensor) and given.device.type != "meta":
            kind = given.device.type
            cast = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
            self._half = bool(cast) or given.dtype == torch.float16

    def _look(self, index: int, held: Sequence[Tensor]) -> None:
        """How much of the gradients lies below what float16 can hold in full precision."""
        chosen = [p for p in held if p.grad is not None and p.grad.device.type == "cpu"][:_MOST]
        if not self._half or self._careers or not chosen:
            return
        sizes = torch.stack([sample(p.grad).abs() for p in chosen if p.grad is not None])
        nonzero = (sizes > 0).sum(1)
        tiny = 1 - (sizes >= LEAST).sum(1) / nonzero.clamp(min=1)
        table = torch.stack([tiny, nonzero / sizes.shape[1], sizes.amax(1)], dim=1).tolist()
        numbers = [str(self.models.parameter_number(p)) for p in chosen]
        told = dict(zip(numbers, table, strict=True))
        self.session.write("half", step=self.session.step + 1, optimizer=index, params=told)

    # --- scalers

    def _begins(self, *_: Any) -> None:
        self._before = self.session.step

    def _stepped(self, _: Any, scaler: GradScaler, *__: Any) -> None:
        career = self._careers.get(id(scaler))
        if career is None or career.scaler() is not scaler:
            if len(self._careers) >= _MOST:
                return
            career = self._careers[id(scaler)] = Career(len(self._careers), weakref.ref(scaler), user_place(2))
        skipped = self.session.step == self._before
        career.steps += 1
        career.skips += skipped
        career.recent += skipped
        career.row = career.row + 1 if skipped else 0
        scale = scaler._scale
        if career.steps % _RECENT == 0:
            if scale is not None and scale.device.type == "cpu":
                career.scale = number(scale)
            if career.steps // _RECENT % (1 << max(0, (career.steps // _RECENT // 8).bit_length() - 1)) == 0:
                self._tell(career)
            career.recent = 0

    def _tell(self, career: Career) -> None:
        self.session.write(
            "scaler",
            id=career.id,
            site=career.place,
            step=self.session.step,
            steps=career.steps,
            skips=career.skips,
            recent=career.recent,
            of=career.steps % _RECENT or _RECENT,
            row=career.row,
            scale=career.scale,
        )

    def _ends(self) -> None:
        for career in self._careers.values():
            if career.steps % _RECENT:
                self._tell(career)
