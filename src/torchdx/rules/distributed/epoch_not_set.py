"""Every epoch deals the data out in the same order, as its sampler is never told the epoch.

Seen as a training that varies less than it should: the same samples meet in the same batch on the same rank in every
epoch; measured is that a shuffling `DistributedSampler` began several training passes with the same `epoch`.

Hurts because `DistributedSampler` draws its order from `seed + epoch` alone, so that all ranks agree without a word.
With `epoch` left at 0 there is one order for ever: the noise of the gradients repeats instead of averaging out, and
no rank ever sees the samples of another.

Helped by `sampler.set_epoch(epoch)` before each epoch's loop.

No fault when the sampler does not shuffle, when a subclass counts epochs itself, when the loader serves evaluation,
and when there are but two epochs.

Sources: PyTorch documentation, `torch.utils.data.distributed.DistributedSampler`: "calling the set_epoch() method at
the beginning of each epoch ... is necessary to make shuffling work properly across multiple epochs".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Loader, Record

code, family, severity = "TDX014", "distributed", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"validation-gap"})

PASSES = 3
"""Training passes in the same order, at least: 1 wherever the epoch is set, and what two epochs lose is not worth a
word."""


def in_run(record: Record) -> Iterator[Finding]:
    """The loader that is trained on, where its shuffling sampler never hears of a new epoch."""
    loader = record.job.training_loader if record.job else None
    epochs = _epochs(record, loader)
    if loader is not None and len(epochs) >= PASSES and len(set(epochs)) == 1:
        yield Finding(
            message=f"All {len(epochs)} passes over the training data were dealt out in the same order: "
            f"the sampler's epoch was {epochs[0]} in each",
            site=loader.site,
            evidence={
                "ranks": [str(process.joined["rank"]) for process in record.job.ranks] if record.job else [],
                "sampler": "DistributedSampler(shuffle=True)",
                "training passes": len(epochs),
                "epochs the sampler was told": sorted(map(str, set(epochs))),
            },
            cure="call sampler.set_epoch(epoch) at the start of each epoch",
            confidence=0.97,
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold."""
    epochs = _epochs(record, record.job.training_loader if record.job else None)
    if epochs:
        yield "PASSES", max(epochs.count(epoch) for epoch in epochs)


def _epochs(record: Record, loader: Loader | None) -> list[int]:
    """The sampler's epoch at each pass in which training went on."""
    if loader is None:
        return []
    passes = [fact for fact in record.process.all("pass") if fact["loader"] == loader.id]
    ends = [*(fact["step"] for fact in passes[1:]), record.steps]
    shuffled = (fact.get("plain") and fact.get("shuffle") and fact.get("replicas", 1) > 1 for fact in passes)
    return [fact["epoch"] for fact, end, yes in zip(passes, ends, shuffled, strict=False) if yes and end > fact["step"]]


def sick() -> None:
    """The sampler is never told the epoch."""
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
        loader = DataLoader(data, batch_size=32, sampler=sampler)  # TDX014
        model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
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
    """It is."""
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
        for epoch in range(4):
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
    """The sampler keeps the order on purpose, as the data was shuffled before."""
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
        order = torch.randperm(len(digits.target))
        pictures = (torch.tensor(digits.data, dtype=torch.float32) / 8 - 1)[order]
        data = TensorDataset(pictures, torch.tensor(digits.target)[order])
        sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(data, shuffle=False)
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
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
