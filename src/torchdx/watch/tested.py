"""What models are given when they are put into evaluation mode: of what scale these inputs are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.models import Models
from torchdx.watch.places import user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import describe, is_plain

_MOST = 8
_MOST_IDLE = 64


class Tested:
    """Tells of the first call after each of the first switches of a model in use to evaluation mode.

    The hook for it is everybody's, as one on the model would be copied with it, and is gone before the model's own
    layers are called.
    """

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._hook: Any = None
        self._left = _MOST
        self._idle = 0
        self._saw = session.guarded(self._called)
        session.weave_bare(nn.Module.train, self._switched)
        session.at_end.append(self._unhook)

    def _switched(self, _: Any, module: nn.Module, mode: bool = True, *__: Any) -> None:
        if mode or self._left <= 0 or self._hook is not None or self.session.compiled or not self.session.step:
            return
        if self.models.known_number(module) is not None and self.models.is_root(module):
            self._idle = 0
            self._hook = nn.modules.module.register_module_forward_pre_hook(self._before)

    def _before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not torch.compiler.is_compiling():
            self._saw(module, inputs)

    def _called(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        number = self.models.known_number(module)
        self._idle += 1
        if number is None or module.training or not self.models.is_root(module):
            if self._idle > _MOST_IDLE:
                self._unhook()
            return
        self._unhook()
        self._left -= 1
        given = inputs[0] if inputs else None
        if isinstance(given, Tensor) and is_plain(given) and given.device.type == "cpu":
            with self.session.governor.look():
                place = user_place(2)
                self.session.write("evaluated", step=self.session.step, module=number, site=place, **describe(given))

    def _unhook(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
