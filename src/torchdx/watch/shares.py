"""What share of the data this rank gets: which sampler hands it out, at which epoch, and a checksum of its batches."""

from __future__ import annotations

import zlib
from typing import Any

from torch.utils.data import DistributedSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from torchdx.watch.loaders import Loaders, _tensors
from torchdx.watch.ranks import Ranks
from torchdx.watch.session import DENSE, Session
from torchdx.watch.tensors import sample

ELEMENTS = 256
"""Elements of a batch's first tensor that its checksum is made of."""


class Shares:
    """Follows the passes of samplers made for several ranks, and the batches before the steps that ranks measure."""

    def __init__(self, session: Session, loaders: Loaders, ranks: Ranks) -> None:
        self.session = session
        self.loaders = loaders
        self.ranks = ranks
        self._batch: tuple[int, int | None] | None = None
        self._passes = 0
        session.weave(_BaseDataLoaderIter.__init__, after=self._started)
        session.weave(_BaseDataLoaderIter._reset, before=self._resets)
        session.weave(_BaseDataLoaderIter.__next__, after=self._gives)

    def take_batch(self) -> tuple[int, int | None] | None:
        """A checksum of all batches since the last step, with the number of the latest one's loader."""
        batch, self._batch = self._batch, None
        return batch

    def _started(self, _: None, iterator: Any, loader: Any, *__: Any) -> None:
        self._tell(loader, iterator)

    def _resets(self, iterator: Any, loader: Any, first: Any = False, *_: Any) -> None:
        if not first:  # persistent workers keep one iterator for all passes
            self._tell(loader, iterator)

    def _tell(self, loader: Any, iterator: Any) -> None:
        sampler = getattr(loader.sampler, "sampler", loader.sampler)
        if not self.ranks.joined or self._passes >= DENSE:
            return
        self._passes += 1
        number = self.loaders.number_of(iterator)
        dealt = _dealt(sampler) if isinstance(sampler, DistributedSampler) else {}
        self.session.write("pass", step=self.session.step, loader=number, **dealt)

    def _gives(self, batch: Any, iterator: Any) -> None:
        if not self.ranks.joined or not self.ranks.looks_at(self.session.step + 1, self.loaders.optimizers.count):
            return
        tensor = next(iter(_tensors(batch, 1)), None)
        if tensor is None or tensor.device.type != "cpu" or not tensor.numel() or tensor.is_complex():
            return
        with self.session.governor.look():
            before = self._batch[0] if self._batch else zlib.crc32(repr(tuple(tensor.shape)).encode())
            data = sample(tensor, min(ELEMENTS, tensor.numel())).numpy().tobytes()
            self._batch = (zlib.crc32(data, before), self.loaders.number_of(iterator))


def _dealt(sampler: Any) -> dict[str, Any]:
    """How it deals the data out; `plain` where its order is torch's own, drawn from the epoch it was told."""
    return {
        "plain": type(sampler).__iter__ is DistributedSampler.__iter__,
        "epoch": sampler.epoch,
        "shuffle": sampler.shuffle,
        "replicas": sampler.num_replicas,
        "rank": sampler.rank,
    }
