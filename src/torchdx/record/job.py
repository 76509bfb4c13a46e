"""A job on several ranks: each rank's facts beside the others', aligned by what all measured at the same steps."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torchdx.record.anatomy import Loader
from torchdx.record.facts import Fact
from torchdx.record.process import Process

EQUAL = 1e-6
"""Relative distance up to which values count as equal: that of float32 roundings."""

KILLED = 0.02
"""Share of its steps that a rank may lack which was killed with the others: its last steps may not be written down."""


@dataclass(frozen=True)
class Row:
    """One parameter before one step, on every rank: how far values and gradients lie apart, relative to their size."""

    parameter: int
    wrapped: bool
    apart: float
    gradients_apart: float | None
    gradients: tuple[float, ...]

    @property
    def same(self) -> bool:
        """Do all ranks hold the same values?"""
        return self.apart <= EQUAL

    @property
    def shares_gradients(self) -> bool | None:
        """Is the gradient the same on all ranks? None where there is none, or it is zero."""
        return None if self.gradients_apart is None else self.gradients_apart <= EQUAL


@dataclass(frozen=True)
class Look:
    """One step of an optimizer, as every rank of a group of replicas measured it; `facts` holds one fact a rank."""

    step: int
    facts: tuple[Fact, ...]

    @cached_property
    def rows(self) -> list[Row]:
        """Every parameter measured."""
        return [_row([list(one) for one in beside]) for beside in zip(*(f["params"] for f in self.facts), strict=False)]

    @property
    def shares_gradients(self) -> bool:
        """Did all ranks get the same gradients, those of at least half the parameters measured?"""
        known = [row.shares_gradients for row in self.rows if row.shares_gradients is not None]
        return bool(known) and all(known) and 2 * len(known) >= len(self.rows)

    def told(self, name: str) -> list[Any]:
        """What each rank told under this name."""
        return [fact.get(name) for fact in self.facts]

    @property
    def wrapper(self) -> Fact:
        """How rank by rank the wrapper works; empty where a rank has none."""
        wrappers = [fact.get("wrapper") for fact in self.facts]
        return wrappers[0] or {} if all(wrappers) else {}

    def all_wrappers(self, name: str) -> bool:
        """Does every rank's wrapper say so?"""
        return all((fact.get("wrapper") or {}).get(name) for fact in self.facts)

    @property
    def apart(self) -> float:
        """How far the parameters of the ranks lie apart, over all of them."""
        return max((row.apart for row in self.rows), default=0.0)


@dataclass(frozen=True)
class Replicas:
    """The same parameters held by several ranks, all of them in one optimizer on each, over the steps looked at."""

    optimizer: int
    ranks: tuple[int, ...]
    looks: tuple[Look, ...]

    @property
    def named(self) -> str:
        """The ranks, for a person: "ranks 0 and 1"."""
        several = len(self.ranks) > 2
        return (
            f"Ranks {self.ranks[0]} to {self.ranks[-1]}" if several else f"Ranks {' and '.join(map(str, self.ranks))}"
        )

    @property
    def wrapped(self) -> bool:
        """Are they in a wrapper that averages gradients, on every rank and always?"""
        return all(look.wrapper for look in self.looks)

    @property
    def special(self) -> bool:
        """Has the wrapper an own way of sharing: a hook of the user's, or ranks that may end early?"""
        return any(look.all_wrappers("hooked") or look.all_wrappers("joins") for look in self.looks)

    @property
    def shared_by_hand(self) -> bool:
        """Did the program itself hand as much between ranks as the parameters hold, after the first step?"""
        if len(self.looks) < 2:
            return any(_moved(fact) for fact in self.looks[0].facts) if self.looks else False
        pairs = zip(self.looks[0].facts, self.looks[-1].facts, strict=True)
        return any(
            _moved(last) - _moved(first) >= last.get("elements", 0)
            or last["moved"].get("posted", 0) > first["moved"].get("posted", 0)
            for first, last in pairs
        )


@dataclass(frozen=True)
class Job:
    """The ranks of one job, those of which there are facts, in order."""

    ranks: tuple[Process, ...]
    world: int

    @classmethod
    def of(cls, processes: Sequence[Process]) -> Job | None:
        """The job that these processes belong to; None where they are not several ranks of one process group.

        Of a job that was started several times, the start that took the most steps.
        """
        by_rank: dict[int, list[Process]] = defaultdict(list)
        for process in sorted(processes, key=lambda p: p.first("process").get("started", 0.0)):
            if process.joined.get("world", 1) > 1:
                by_rank[process.joined["rank"]].append(process)
        starts = [
            [each[k] for _, each in sorted(by_rank.items()) if len(each) > k]
            for k in range(max(map(len, by_rank.values()), default=0))
        ]
        chosen = max(starts, key=lambda ranks: (len(ranks), sum(p.steps for p in ranks)), default=[])
        worlds = {process.joined["world"] for process in chosen}
        return cls(tuple(chosen), worlds.pop()) if len(chosen) > 1 and len(worlds) == 1 else None

    @property
    def in_step(self) -> bool:
        """Did all ranks take the same number of steps, so that equal numbers mean the same step?"""
        steps = [process.steps for process in self.ranks]
        return max(steps) - min(steps) <= 1 + KILLED * max(steps)

    @property
    def deals_out_data(self) -> bool:
        """Does a sampler made for several ranks give each rank another part of the data?"""
        passes = [[f for f in process.all("pass") if f.get("replicas") == self.world] for process in self.ranks]
        dealt = [{f["rank"] for f in own} for own in passes]
        return all(len(own) == 1 for own in dealt) and len(set().union(*dealt)) == len(self.ranks)

    @property
    def waits_for_each_other(self) -> bool:
        """Does every rank step in a wrapper that waits for all others, and that none may leave early?"""
        wrappers = [process.last("replica").get("wrapper") for process in self.ranks]
        return all(wrapper and not wrapper.get("joins") for wrapper in wrappers)

    @cached_property
    def training_loader(self) -> Loader | None:
        """The loader that gave the batches before the steps looked at."""
        lead = max(self.ranks, key=lambda process: process.steps)
        used = Counter(fact["batch"][1] for fact in lead.all("replica") if fact.get("batch"))
        number = used.most_common(1)[0][0] if used else None
        return next((loader for loader in lead.loaders if loader.id == number), None)

    @property
    def planned_batches(self) -> list[int | None]:
        """How many batches an epoch of the training loader has, rank by rank; None where that is not known."""
        loader = self.training_loader
        twins = [[one for one in p.loaders if loader and one.id == loader.id] for p in self.ranks]
        return [own[0].batches if own and loader and own[0].site == loader.site else None for own in twins]

    @property
    def pass_starts(self) -> list[list[int]]:
        """The steps at which passes of the training loader began, rank by rank."""
        number = self.training_loader.id if self.training_loader else None
        return [sorted({f["step"] for f in p.all("pass") if f["loader"] == number}) for p in self.ranks]

    @cached_property
    def replicas(self) -> list[Replicas]:
        """Every group of ranks that hold the same parameters unsharded."""
        if not self.in_step:
            return []
        looks: dict[tuple[int, int, tuple[int, ...]], dict[int, dict[int, Fact]]] = defaultdict(dict)
        for process in self.ranks:
            rank = process.joined["rank"]
            for fact in process.all("replica"):
                group = tuple((fact.get("wrapper") or {}).get("group") or range(self.world))
                if not fact.get("sharded") and fact.get("params"):
                    key = (fact["optimizer"], fact["layout"], group)
                    looks[key].setdefault(fact["step"], {})[rank] = fact
        return [replicas for key, by_step in looks.items() for replicas in _replicas(key[0], by_step)]


def _replicas(optimizer: int, by_step: dict[int, dict[int, Fact]]) -> Iterator[Replicas]:
    present = [rank for facts in by_step.values() for rank in facts]
    ranks = tuple(sorted({rank for rank in present if present.count(rank) > len(by_step) / 2}))
    steps = [(step, facts) for step, facts in sorted(by_step.items()) if set(ranks) <= set(facts)]
    looks = [Look(step, tuple(facts[rank] for rank in ranks)) for step, facts in steps]
    if len(ranks) > 1 and looks:
        yield Replicas(optimizer, ranks, tuple(looks))


def _moved(fact: Fact) -> int:
    return int(sum(fact.get("moved", {}).values()))


def _row(beside: list[list[float]]) -> Row:
    """One parameter, from each rank's [id, wrapped, checksum, sum, RMS, and the same three of its gradient]."""
    first = beside[0]
    with_gradient = all(len(one) >= 8 for one in beside)
    sizes = tuple(one[7] for one in beside) if with_gradient else ()
    return Row(
        parameter=int(first[0]),
        wrapped=all(one[1] for one in beside),
        apart=_apart([one[2:5] for one in beside]),
        gradients_apart=_apart([one[5:8] for one in beside]) if any(size > 0 for size in sizes) else None,
        gradients=sizes,
    )


def _apart(digests: list[list[float]]) -> float:
    """How far the digests lie apart: 0 where all checksums agree, else an estimate of distance over size."""
    if len({digest[0] for digest in digests}) == 1:
        return 0.0
    size = max(digest[2] for digest in digests)
    sums = [digest[1] for digest in digests]
    sizes = [digest[2] for digest in digests]
    if not all(map(math.isfinite, (*sums, *sizes))) or not size:
        return 0.0
    return max((max(sums) - min(sums)) / (size * math.sqrt(ELEMENTS)), (max(sizes) - min(sizes)) / size)


ELEMENTS = 32
"""Elements of a tensor that its digest is made of, `torchdx.watch.replicas.ELEMENTS`."""
