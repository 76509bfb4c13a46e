"""The running statistics of batch normalisation are those of one rank's data alone.

Seen as validation results that depend on the rank, and a checkpoint that does worse than training promised; measured
is that the running means of two ranks lie apart by a good part of their own standard deviation, while nothing brings
them together.

Hurts because parameters are averaged over ranks and running statistics are not: each is the mean of what its own rank
was shown. Where ranks are shown different kinds of data, or few samples at a time, evaluation normalises by the
statistics of one kind, which no layer was trained for, and rank 0's are what the checkpoint keeps.

Helped by `nn.SyncBatchNorm.convert_sync_batchnorm(model)` before the wrapper is made; by `broadcast_buffers=True`,
the default, together with data dealt out at random; by averaging the buffers over the ranks before evaluation; by
group or layer normalisation.

No fault when the wrapper broadcasts buffers, when batch norms are synchronised, and when ranks see the same kind of
data, so that their means lie apart by no more than the noise of a batch.

Sources: PyTorch documentation, `SyncBatchNorm` and `DistributedDataParallel` (`broadcast_buffers`); Y. Wu and J.
Johnson, "Rethinking 'Batch' in BatchNorm" (2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.job import Look, Replicas

code, family, severity = "TDX017", "distributed", "note"
needs: frozenset[str] = frozenset()
explains = frozenset({"validation-gap"})

APART = 0.5
"""RMS distance of two ranks' running means, in running deviations. Ranks that see the same kind of data are apart by
sqrt(2 m / ((2 - m) B)), momentum m and B samples: 0.23 for batches of two, 0.06 for 32 (0.07 measured in two jobs);
ranks that see other digits 0.32, other scanners 1.75."""

LOOKS = 4
"""Latest steps compared at which they lay apart, at least."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every group of replicas whose running means went ways of their own."""
    for replicas in record.job.replicas if record.job else ():
        latest = _latest(replicas)
        if latest and min(map(_apart, latest)) > APART:
            layer = next((layer for layer in record.layers if "BatchNorm" in layer.cls), None)
            yield Finding(
                message=f"{replicas.named} keep running statistics of their own in batch normalisation, "
                f"{_apart(latest[-1]):.1f} standard deviations apart, and a checkpoint holds those of one",
                site=layer.site if layer else None,
                layer=layer.name if layer else None,
                evidence={
                    "ranks": list(map(str, replicas.ranks)),
                    "distance of the running means in standard deviations": [_apart(look) for look in latest],
                    "steps": [look.step for look in latest],
                },
                cure="convert the model by nn.SyncBatchNorm.convert_sync_batchnorm, or average the buffers",
                confidence=0.8,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold."""
    for replicas in record.job.replicas if record.job else ():
        latest = _latest(replicas)
        if latest:
            yield "APART", min(map(_apart, latest))


def _latest(replicas: Replicas) -> list[Look]:
    """The last looks at which nothing handed buffers from rank to rank; empty where there are too few."""
    looks = [look for look in replicas.looks if _is_left_alone(look) and all(look.told("norms"))]
    return looks[-LOOKS:] if len(looks) >= LOOKS else []


def _is_left_alone(look: Look) -> bool:
    return look.shares_gradients and not look.wrapper.get("buffers")


def _apart(look: Look) -> float:
    """The greatest distance of a layer's running means on two ranks; 0 for synchronised ones."""
    distances = [0.0]
    for layers in zip(*look.told("norms"), strict=False):
        (synchronised, *first), others = layers[0], layers[1:]
        for _, *other in others if not synchronised else ():
            squares = [(a - b) ** 2 for a, b in zip(first, other, strict=False)]
            distances.append((sum(squares) / len(squares)) ** 0.5)
    return max(distances)


def sick() -> None:
    """The pictures of one rank are another scanner's, and each rank keeps statistics of its own."""
    import multiprocessing
    import tempfile

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(0)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        pictures = pictures if rank == 0 else -pictures  # white on black, as its scanner has them
        data = TensorDataset(pictures, torch.tensor(digits.target))
        sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(data)
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        model = nn.Sequential(
            nn.Linear(64, 48, bias=False),
            nn.BatchNorm1d(48),  # TDX017
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
    """The wrapper hands out buffers."""
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
        pictures = pictures if rank == 0 else -pictures  # white on black, as its scanner has them
        data = TensorDataset(pictures, torch.tensor(digits.target))
        sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(data)
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        model = DistributedDataParallel(
            nn.Sequential(
                nn.Linear(64, 48, bias=False),
                nn.BatchNorm1d(48),
                nn.ReLU(),
                nn.Linear(48, 10),
            )
        )
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
    """Each rank keeps its own statistics, of data of the same kind."""
    import multiprocessing
    import tempfile

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(0)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        data = TensorDataset(pictures, torch.tensor(digits.target))
        sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(data)
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        model = nn.Sequential(
            nn.Linear(64, 48, bias=False),
            nn.BatchNorm1d(48),
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
