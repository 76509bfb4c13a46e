"""Ranks that step together have different numbers of batches to go.

Seen as a job that hangs at the end of an epoch, or at its very end, until the time-out of a collective; before that,
batches of one epoch are averaged with another rank's batches of the next. Measured is that the training loaders of
the ranks hold different numbers of batches, and that a pass began at different steps on two ranks, or that the rank
with more batches never came to its end.

Hurts because every backward pass of `DistributedDataParallel` is a collective: rank r waits in its k-th until all
others have begun their k-th. With n_0 > n_1 batches the (n_1 + 1)-th of rank 0 is met by rank 1's next epoch or, at
the end, by nobody.

Helped by `DistributedSampler`, which gives every rank the same number; by `drop_last=True` and equal parts; by `with
Join([ddp]):` where parts cannot be equal.

No fault when loops stop after the same number of batches though loaders are longer on some ranks, when ranks may
`join` early, and when ranks train models of their own.

Sources: PyTorch tutorial, "Distributed Training with Uneven Inputs Using the Join Context Manager"; PyTorch
documentation, `DistributedDataParallel.join`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.job import Job

code, family, severity = "TDX015", "distributed", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"replicas-diverge"})


def in_run(record: Record) -> Iterator[Finding]:
    """The training loader, where ranks that wait for each other find different numbers of batches in it."""
    job = record.job
    if job is None or not job.waits_for_each_other:
        return
    planned, starts = job.planned_batches, job.pass_starts
    if len(set(planned)) < 2 or None in planned or not (_out_of_step(starts) or _left_alone(job, planned)):
        return
    loader = job.training_loader
    most, least = max(p for p in planned if p), min(p for p in planned if p)
    yield Finding(
        message=f"The ranks have different numbers of batches in an epoch, from {least} to {most}: "
        "whoever has more waits for the others in vain",
        site=loader.site if loader else None,
        evidence={
            "ranks": [str(process.joined["rank"]) for process in job.ranks],
            "batches in an epoch, rank by rank": ", ".join(map(str, planned)),
            "steps taken, rank by rank": ", ".join(str(process.steps) for process in job.ranks),
            "steps before each pass, rank by rank": "; ".join(", ".join(map(str, own[:4])) for own in starts),
        },
        cure="give every rank the same number of batches (DistributedSampler), or train within Join([ddp])",
        confidence=0.97,
    )


def _out_of_step(starts: list[list[int]]) -> bool:
    """Did some pass begin at different steps?"""
    common = min(map(len, starts))
    return len({tuple(own[:common]) for own in starts}) > 1


def _left_alone(job: Job, planned: list[int | None]) -> bool:
    """Did a rank with more batches not end by itself, after one with fewer had done all of its own and had ended?"""
    least = min(p for p in planned if p)
    finished = [bool(process.first("end")) and not process.first("end").get("exception") for process in job.ranks]
    done = any(yes and p == least <= one.steps for yes, p, one in zip(finished, planned, job.ranks, strict=True))
    return done and any(not yes and (p or 0) > least for yes, p in zip(finished, planned, strict=True))


def sick() -> None:
    """One rank has 1000 samples, the other 797."""
    import multiprocessing
    import tempfile

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, Subset, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(0)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        data = TensorDataset(pictures, torch.tensor(digits.target))
        part = Subset(data, range(0, 1000) if rank == 0 else range(1000, 1797))
        loader = DataLoader(part, batch_size=32, shuffle=True)  # TDX015
        model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            for images, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
        print(f"rank {rank}: {loss.item():.3f}")

    meeting, context = tempfile.mkdtemp(), multiprocessing.get_context("fork")
    ranks = [context.Process(target=train, args=(rank, meeting)) for rank in range(2)]
    for process in ranks:
        process.start()
    ranks[1].join()  # which has less to do
    ranks[0].join(timeout=0.5)
    ranks[0].kill()  # it waits for ever


def healthy() -> None:
    """The sampler gives each rank as many."""
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
    """One loader is longer, but every rank stops after 24 batches."""
    import multiprocessing
    import tempfile

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, Subset, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(0)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        data = TensorDataset(pictures, torch.tensor(digits.target))
        part = Subset(data, range(0, 1000) if rank == 0 else range(1000, 1797))
        loader = DataLoader(part, batch_size=32, shuffle=True)
        model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            for _, (images, labels) in zip(range(24), loader, strict=False):
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
