"""DataLoaders: how they are set up, what their batches look like, and how long the model waits for them."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, WeightedRandomSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from torchdx.watch.governor import clock
from torchdx.watch.losses import _counts as label_counts
from torchdx.watch.optimizers import Optimizers
from torchdx.watch.phases import Phases
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import describe

_MOST_TENSORS = 4
_FIRST_BATCHES = 2


class Loaders:
    """Follows every DataLoader and every pass over it."""

    def __init__(self, session: Session, phases: Phases, optimizers: Optimizers) -> None:
        self.session = session
        self.phases = phases
        self.optimizers = optimizers
        self._made: dict[int, tuple[weakref.ref[Any], Place | None, int | None]] = {}
        self._passes: dict[int, tuple[weakref.ref[Any], int, int]] = {}
        self._weighted: dict[int, tuple[weakref.ref[Any], Place | None]] = {}
        self._count = 0
        self._turn = 0
        self._seen: dict[int, int] = {}
        self._asked = 0.0
        session.weave(DataLoader.__init__, after=self._constructed)
        session.weave(WeightedRandomSampler.__init__, after=self._weighed)
        session.weave(_BaseDataLoaderIter.__init__, after=self._started)
        session.weave(_BaseDataLoaderIter.__next__, before=self._asks, after=self._gives)
        session.weave(_BaseDataLoaderIter._reset, before=self._resets)

    def _constructed(self, _: None, loader: Any, *__: Any) -> None:
        self._made[id(loader)] = (weakref.ref(loader), user_place(2, skip_constructor_of=loader), None)

    def _weighed(self, _: None, sampler: Any, *__: Any) -> None:
        self._weighted[id(sampler)] = (weakref.ref(sampler), user_place(2, skip_constructor_of=sampler))

    def _started(self, _: None, iterator: Any, loader: Any, *__: Any) -> None:
        self._turn += 1
        self._passes[id(iterator)] = (weakref.ref(iterator), self._number(loader), self._turn)

    def _resets(self, iterator: Any, *_: Any) -> None:
        """Persistent workers keep one iterator for all passes."""
        known = self._passes.get(id(iterator))
        if known is not None and known[0]() is iterator and self._seen.get(known[1]):
            self._turn += 1
            self._passes[id(iterator)] = (known[0], known[1], self._turn)

    def number_of(self, iterator: Any) -> int | None:
        """The number of the loader that this is a pass over."""
        known = self._passes.get(id(iterator))
        return known[1] if known is not None and known[0]() is iterator else None

    def _number(self, loader: Any) -> int:
        ref, place, number = self._made.get(id(loader), (None, None, None))
        if ref is None or ref() is not loader:
            ref, place, number = weakref.ref(loader), None, None
        if number is None:
            number, self._count = self._count, self._count + 1
            self._made[id(loader)] = (ref, place, number)
            self._write(loader, number, place)
        return number

    def _write(self, loader: Any, number: int, place: Place | None) -> None:
        orders = {SequentialSampler: "sequential", RandomSampler: "random", range: "sequential"}
        batches = loader.sampler if loader.batch_size is None and loader.batch_sampler is None else loader.batch_sampler
        custom = type(batches).__name__ != "BatchSampler"
        sampler = loader.sampler if custom else batches.sampler
        self.session.write(
            "loader",
            id=number,
            site=place,
            order=type(batches).__name__ if custom else orders.get(type(sampler), type(sampler).__name__),
            batch_size=loader.batch_size,
            workers=loader.num_workers,
            drop_last=loader.drop_last,
            batches=_length(loader),
            samples=_length(loader.dataset),
            dataset=type(loader.dataset).__name__,
            **self._weights(batches if custom else None, sampler),
        )

    def _weights(self, batches: Any, sampler: Any) -> dict[str, Any]:
        """How many samples a sampler has a weight for, and where it was made."""
        inner = getattr(batches, "sampler", sampler)
        if type(inner) is not WeightedRandomSampler:
            return {}
        ref, place = self._weighted.get(id(inner), (None, None))
        return {"weights": _length(inner.weights), "weighted": place if ref is not None and ref() is inner else None}

    def _asks(self, _: Any) -> None:
        self._asked = clock()
        self.phases.loader = None  # and so it stays if there is no next batch: the pass is over

    def _gives(self, batch: Any, iterator: Any) -> None:
        self.optimizers.wait += clock() - self._asked
        known = self._passes.get(id(iterator))
        if known is None or known[0]() is not iterator:
            return
        _, number, turn = known
        self.phases.loader, self.phases.turn = number, turn
        seen = self._seen[number] = self._seen.get(number, 0) + 1
        if self.session.looking or seen <= _FIRST_BATCHES:
            with self.session.governor.look():
                self._tell(batch, number)

    def _tell(self, batch: Any, number: int) -> None:
        tensors = []
        for tensor in _tensors(batch, _MOST_TENSORS):
            told = describe(tensor)
            told["counts"] = label_counts(tensor) if tensor.dim() <= 1 else None
            tensors.append(told)
        self.session.write("batch", step=self.session.step + 1, loader=number, tensors=tensors)


def _length(sized: Any) -> int | None:
    """Its length, if it has one and says so without iterating; IterableDatasets may have none."""
    try:
        return len(sized)
    except Exception:
        return None


def _tensors(batch: Any, most: int) -> list[Tensor]:
    """The first tensors of a batch, whatever it is made of."""
    if isinstance(batch, Tensor):
        return [batch]
    inner = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, list | tuple) else ()
    found: list[Tensor] = []
    for part in inner:
        found.extend(_tensors(part, most))
        if len(found) >= most:
            break
    return found[:most]
