"""One rank of a job: that it is one, which steps all ranks measure, and how much they hand each other by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.session import Body, Session

SUMMING = ("all_reduce", "broadcast", "reduce", "all_gather", "all_gather_into_tensor", "all_reduce_coalesced")
PARTING = ("gather", "scatter", "reduce_scatter", "reduce_scatter_tensor", "all_to_all", "all_to_all_single")
POSTING = ("send", "recv", "isend", "irecv")

SMALL = 16
"""Elements from which on a tensor handed over is counted: below are metrics, as each rank's loss."""

WINDOW = 2
"""Steps of each optimizer that are measured in a row: what is done at every other step shows in two."""


class Ranks:
    """Knows when this process joins a process group; probes that wait for that are put in then, and never before."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.joined = False
        self.moved: Counter[str] = Counter()
        self.at_join: list[Body] = []
        if torch.distributed.is_available():
            session.weave(torch.distributed.init_process_group, after=self._joins)

    def looks_at(self, step: int, optimizers: int) -> bool:
        """Is this one of the steps that every rank measures? Powers of two and a few after, agreed without a word."""
        return self.joined and step - (1 << (step.bit_length() - 1)) < WINDOW * max(1, optimizers)

    def begin_now(self) -> None:
        """Where watching begins in a program that has joined a group already."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self._joins()

    def _joins(self, *_: Any) -> None:
        group = torch.distributed
        world = group.get_world_size()
        self.session.write("rank", rank=group.get_rank(), world=world, backend=group.get_backend())
        if world < 2 or self.joined:
            return
        self.joined = True
        for name in (*SUMMING, *PARTING, *POSTING):
            function = getattr(group.distributed_c10d, name, None)
            if function is not None:
                self.session.weave_late(function, before=self._counts(name))
        for begin in self.at_join:
            begin()

    def _counts(self, name: str) -> Body:
        """Note that the program itself hands a tensor over; only its size is read, and nothing is held up."""
        kind = "posted" if name in POSTING else "shared"

        def count(first: Any, *_: Any) -> None:
            size = sum(t.numel() for t in (first if isinstance(first, list | tuple) else [first]) if _is_tensor(t))
            if size >= SMALL:
                self.moved[kind] += size

        return count


def _is_tensor(thing: object) -> bool:
    return isinstance(thing, Tensor)
