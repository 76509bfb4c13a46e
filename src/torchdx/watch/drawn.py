"""Frozen parameters that stay, through all of training, what a random initialisation made them in this process."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.nn import init

from torchdx.watch.models import Models
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, sample

MOST = 4096
"""Draws that are remembered: those of the last layers made."""

FOLLOWED = 64
"""Frozen parameters that are followed."""

_SAMPLE = 64
_DRAWS = (
    *(init.uniform_, init.normal_, init.trunc_normal_, init.orthogonal_),
    *(init.xavier_uniform_, init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_),
)


class Drawn:
    """Remembers what was drawn, and tells in the end which frozen parameters still are just that.

    A copy, a trained table or a loaded one lies elsewhere, or holds other values.
    """

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._drawn: dict[int, Tensor] = {}
        self._frozen: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}
        self._looks = 0
        models.at_frozen = self._meets
        for draw in _DRAWS:
            session.weave(draw, after=self._draws)
        session.at_look_end.append(self._looks_again)
        session.at_end.append(self._tells)

    def _draws(self, _: Any, tensor: Tensor, *__: Any) -> None:
        if isinstance(tensor, Tensor) and tensor.device.type == "cpu" and _is_readable(tensor):
            if len(self._drawn) >= MOST:
                self._drawn.pop(next(iter(self._drawn)))
            self._drawn[tensor.data_ptr()] = sample(tensor, _SAMPLE).clone()

    def _meets(self, number: int, parameter: Tensor) -> None:
        """A frozen parameter comes into use: does it hold what was drawn where it lies?"""
        if parameter.device.type != "cpu" or not is_plain(parameter) or len(self._frozen) >= FOLLOWED:
            return
        drawn = self._drawn.get(parameter.data_ptr())
        if drawn is not None and not self.models.is_filled(parameter) and _holds(parameter, drawn):
            self._frozen[number] = weakref.ref(parameter), drawn

    def _looks_again(self) -> None:
        self._looks += 1
        for number, (ref, drawn) in [*self._frozen.items()]:
            parameter = ref()
            if parameter is not None and (parameter.requires_grad or not _holds(parameter, drawn)):
                del self._frozen[number]

    def _tells(self) -> None:
        self._looks_again()
        if self._frozen:
            self.session.write("frozen", params=[*self._frozen], looks=self._looks)


def _is_readable(tensor: Tensor) -> bool:
    return is_plain(tensor.data) and not tensor.is_inference()


def _holds(parameter: Tensor, drawn: Tensor) -> bool:
    now = sample(parameter, _SAMPLE)
    return now.shape == drawn.shape and bool((now == drawn).all())
