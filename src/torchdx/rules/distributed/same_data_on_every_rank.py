"""Every rank trains on the very same batches.

Seen as N ranks that learn exactly what one would, in the same time and for N times the price; measured is that the
batches of all ranks have the same checksum at every step compared, while the batches change from step to step.

Hurts because the mean of N equal gradients is that gradient: (1/N) sum g = g. Every step costs N forward and backward
passes and the network between them, and is a step of one rank with its batch size.

Helped by `DataLoader(..., sampler=DistributedSampler(data))` with `set_epoch` each epoch; by another part of the data
for each rank, such as `data[rank::world]`; by an iterable dataset that skips what is the others'.

No fault when the same few batches are shown again and again, as where one batch is to be learnt by heart for a test;
when ranks share a model rather than its data (tensor or pipeline parallel); and when ranks train models of their own.

Sources: PyTorch documentation, `torch.utils.data.distributed.DistributedSampler`; PyTorch tutorial, "Getting Started
with Distributed Data Parallel".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.job import Replicas

code, family, severity = "TDX013", "distributed", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"validation-gap"})

SHARE = 0.99
"""Share of the steps compared at which all ranks had the same batch: 0 in twelve healthy jobs, 1 in four sick ones."""

BATCHES = 4
"""Different batches that must have been seen: a program that shows one batch for ever is a test of its model."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every group of wrapped replicas that are fed alike."""
    for replicas in record.job.replicas if record.job else ():
        shown = _shown(replicas)
        if _share(shown) >= SHARE and len({batches[0] for batches in shown}) >= BATCHES:
            yield _finding(record, replicas, shown)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold."""
    for replicas in record.job.replicas if record.job else ():
        shown = _shown(replicas)
        if len({batches[0] for batches in shown}) >= BATCHES:
            yield "SHARE", _share(shown)


def _shown(replicas: Replicas) -> list[list[int]]:
    """For every step compared, the checksum of each rank's batch; nothing where gradients are not averaged."""
    if not replicas.wrapped:
        return []
    told = [look.told("batch") for look in replicas.looks]
    return [[batch[0] for batch in batches] for batches in told if all(batches)]


def _share(shown: list[list[int]]) -> float:
    return sum(len(set(batches)) == 1 for batches in shown) / len(shown) if shown else 0.0


def _finding(record: Record, replicas: Replicas, shown: list[list[int]]) -> Finding:
    loader = record.job.training_loader if record.job else None
    return Finding(
        message=f"{replicas.named} are given the very same batches, so that all of them do the work of one",
        site=loader.site if loader else None,
        evidence={
            "ranks": list(map(str, replicas.ranks)),
            "steps compared": len(shown),
            "of these with the same batch on all ranks": sum(len(set(batches)) == 1 for batches in shown),
            "different batches seen": len({batches[0] for batches in shown}),
            "order": loader.order if loader else "",
        },
        cure="give the loader sampler=DistributedSampler(data), or each rank a part of the data of its own",
        confidence=0.95,
    )


def sick() -> None:
    """Every rank goes through all of the data, with one seed."""
    import multiprocessing
    import tempfile

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(0)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        data = TensorDataset(pictures, torch.tensor(digits.target))
        loader = DataLoader(data, batch_size=32, shuffle=True)  # TDX013
        model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            for images, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
        print(f"rank {rank}: {loss.item():.3f}")
        distributed.barrier()

    meeting, context = tempfile.mkdtemp(), multiprocessing.get_context("fork")
    ranks = [context.Process(target=train, args=(rank, meeting)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert not any(process.exitcode for process in ranks)


def healthy() -> None:
    """A sampler deals the data out."""
    import multiprocessing
    import tempfile

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(0)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        data = TensorDataset(pictures, torch.tensor(digits.target))
        sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(data)
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for images, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
        print(f"rank {rank}: {loss.item():.3f}")
        distributed.barrier()

    meeting, context = tempfile.mkdtemp(), multiprocessing.get_context("fork")
    ranks = [context.Process(target=train, args=(rank, meeting)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert not any(process.exitcode for process in ranks)


def looks_like_it() -> None:
    """Each rank has a slice of its own."""
    import multiprocessing
    import tempfile

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(0)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        data = TensorDataset(pictures[rank::2], torch.tensor(digits.target)[rank::2])
        loader = DataLoader(data, batch_size=32, shuffle=True)
        model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            for images, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
        print(f"rank {rank}: {loss.item():.3f}")
        distributed.barrier()

    meeting, context = tempfile.mkdtemp(), multiprocessing.get_context("fork")
    ranks = [context.Process(target=train, args=(rank, meeting)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert not any(process.exitcode for process in ranks)
