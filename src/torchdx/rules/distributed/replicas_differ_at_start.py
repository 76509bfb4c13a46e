"""Ranks that share their gradients begin with different weights.

Seen as a job whose loss falls slower than one rank's alone, or not at all, and whose checkpoint (rank 0's weights) is
not what the other ranks evaluated; measured is that two ranks get the same gradients and hold different weights at
the first step.

Hurts because the mean gradient (1/N) sum g_r(w_r) is the gradient at none of the N points w_r it was taken at, and
moves all of them alike: the ranks keep the distance they began with. They stay N models, each pulled about by
gradients meant for the others.

Helped by `DistributedDataParallel`, which hands out rank 0's weights when it is made; by `broadcast(p.data, src=0)`
for every parameter; by the same seed on every rank before the model is made; by loading a checkpoint on every rank,
or before the wrapper is made.

No fault when ranks train models of their own (a search, folds, members of an ensemble): then their gradients differ,
too; when parameters are sharded; and when the program itself averages weights now and then.

Sources: PyTorch documentation, `DistributedDataParallel` ("broadcasts ... from the process with rank 0"); S. Li et
al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training" (2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.job import Replicas

code, family, severity = "TDX011", "distributed", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"replicas-diverge", "batchnorm-unsynchronised", "not-learning", "diverged", "validation-gap"})

APART = 1e-3
"""Distance of two ranks' weights over their size: 0 in all of fourteen healthy jobs, as replicas are equal to the bit;
0.9 to 2.2 in three sick ones (other seeds, a checkpoint loaded on one rank, weights drawn anew after wrapping)."""

LOOKS = 2
"""Steps at which the gradients were the same on all ranks, which shows that the ranks are one model."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every group of ranks that step together from different weights."""
    for replicas in record.job.replicas if record.job else ():
        apart = _at_start(replicas)
        if apart is not None and apart > APART:
            yield _finding(record, replicas, apart)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold."""
    for replicas in record.job.replicas if record.job else ():
        apart = _at_start(replicas)
        if apart is not None:
            yield "APART", apart


def _at_start(replicas: Replicas) -> float | None:
    """How far the weights lay apart at first; None where nothing shows that the ranks are one model."""
    together = [look for look in replicas.looks if look.shares_gradients]
    return replicas.looks[0].apart if len(together) >= LOOKS and len(together) > len(replicas.looks) / 2 else None


def _finding(record: Record, replicas: Replicas, apart: float) -> Finding:
    first = replicas.looks[0]
    row = next(row for row in first.rows if row.apart > APART)
    parameter = record.process.parameters.get(row.parameter)
    last = replicas.looks[-1]
    return Finding(
        message=f"{replicas.named} get the same gradients but hold different weights from the first step on",
        site=parameter.site if parameter else None,
        layer=parameter.layer if parameter else None,
        evidence={
            "ranks": list(map(str, replicas.ranks)),
            "parameter": parameter.name if parameter else "",
            "distance of the weights over their size at first": apart,
            f"and at step {last.step}": last.apart,
            "steps at which gradients were the same": sum(bool(look.shares_gradients) for look in replicas.looks),
        },
        cure="wrap the model in DistributedDataParallel after its weights are set, or broadcast rank 0's weights",
        confidence=0.97,
    )


def sick() -> None:
    """Gradients are averaged by hand, and every rank has a seed of its own."""
    import multiprocessing
    import tempfile

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(rank)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        data = TensorDataset(pictures, torch.tensor(digits.target))
        sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(data)
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        model = nn.Sequential(
            nn.Linear(64, 48),  # TDX011
            nn.ReLU(),
            nn.Linear(48, 10),
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for images, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    distributed.all_reduce(parameter.grad)
                    parameter.grad /= 2
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
    """Rank 0's weights are handed out first."""
    import multiprocessing
    import tempfile

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(rank)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        data = TensorDataset(pictures, torch.tensor(digits.target))
        sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(data)
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        model = nn.Sequential(
            nn.Linear(64, 48),
            nn.ReLU(),
            nn.Linear(48, 10),
        )
        for parameter in model.parameters():
            distributed.broadcast(parameter.data, src=0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for images, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    distributed.all_reduce(parameter.grad)
                    parameter.grad /= 2
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
    """Two rates are tried on two ranks, each with a model of its own."""
    import multiprocessing
    import tempfile

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.utils.data import DataLoader, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(rank)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        data = TensorDataset(pictures, torch.tensor(digits.target))
        loader = DataLoader(data, batch_size=32, shuffle=True)
        model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1 / (1 + rank))
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
