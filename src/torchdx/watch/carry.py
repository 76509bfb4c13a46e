"""Hidden states that recurrent layers are handed: where they come from, the batch before or this one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data.dataloader import _BaseDataLoaderIter

from torchdx.watch.graphs import Graphs
from torchdx.watch.models import Models
from torchdx.watch.phases import Phases
from torchdx.watch.places import user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, sample

_RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)
_CELLS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
_SAMPLE = 64
_MOST = 16
"""States carried that are written down, of each layer."""


class Carry:
    """At looked-at steps, compares the state a layer begins a batch with to the one it ended the last batch with."""

    def __init__(self, session: Session, models: Models, graphs: Graphs, phases: Phases) -> None:
        self.session = session
        self.models = models
        self.graphs = graphs
        self.phases = phases
        self._batches = 0
        self._ended: dict[int, tuple[int, int | None, Tensor]] = {}
        self._told: dict[int, int] = {}
        self._guarded = session.guarded(self._ran)
        models.when_made((*_RECURRENT, *_CELLS), self._begins)
        session.weave(_BaseDataLoaderIter.__next__, after=self._given)

    def _begins(self) -> None:
        for kind in (*_RECURRENT, *_CELLS):
            self.session.weave_bare(kind.forward, self._called)

    def _given(self, *_: Any) -> None:
        self._batches += 1

    def _called(self, result: Any, module: Any, _: Any, state: Any, *__: Any) -> None:
        if self.session.looking and torch.is_grad_enabled():
            self._guarded(result, module, state)

    def _ran(self, result: Any, module: nn.Module, state: Any) -> None:
        number = self.models.known_number(module)
        if number is None:
            return
        with self.session.governor.look():
            first = state[0] if isinstance(state, tuple) else state
            if isinstance(first, Tensor) and self._told.get(number, 0) < _MOST:
                self._compare(number, first)
            last = result if isinstance(module, _CELLS) else result[1]
            last = last[0] if isinstance(last, tuple) else last
            if isinstance(last, Tensor) and is_plain(last):
                self._ended[number] = (self._batches, self.phases.loader, sample(last, _SAMPLE))

    def _compare(self, number: int, state: Tensor) -> None:
        """Write down a state that came with the graph of an earlier step, or from the batch before."""
        batch, loader, ended = self._ended.get(number, (-1, None, None))
        graph = self.graphs.is_past(state)
        new = 0 <= batch < self._batches and loader is not None and loader == self.phases.loader
        kept = bool(new and ended is not None and _is_same(state, ended))
        if graph or kept:
            self._told[number] = self._told.get(number, 0) + 1
            self.session.write(
                "carried",
                step=self.session.step + 1,
                module=number,
                site=user_place(3),
                loader=self.phases.loader,
                kept=kept,
                graph=graph,
            )


def _is_same(state: Tensor, ended: Tensor) -> bool:
    """Are these the values that the layer ended with, and not zeros? An accelerator is not waited for."""
    if state.device.type != "cpu" or not is_plain(state):
        return False
    own = sample(state, _SAMPLE)
    return bool(own.any()) and torch.equal(own, ended)
