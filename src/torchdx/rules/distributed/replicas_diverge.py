"""Replicas that began alike drift apart, though they share their gradients.

Seen as metrics that depend on the rank asked, a checkpoint that is not what was evaluated, and a loss that stalls
later on; measured is that two ranks hold different weights at a step at which they get the very same gradients, and
held the same ones at first.

Hurts because nothing brings replicas together again: only gradients are averaged. Once w_0 and w_1 differ, the mean
gradient is the gradient at neither, and every further step is taken with an error that grows with their distance.

Helped by doing on every rank whatever changes weights: the learning rate and its schedule, the optimizer's options,
`load_state_dict`, re-initialisation, pruning, noise (with the same seed), a step skipped after a rank's own check.

No fault when gradients differ, too (models of their own; see gradients-not-reduced), when the program itself averages
weights now and then, as local SGD does, and when parameters are sharded.

Sources: PyTorch documentation, `DistributedDataParallel`: "the module ... assumes that gradients ... parameters are
modified identically on all ranks"; S. Li et al., "PyTorch Distributed" (2020), section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.job import Look, Replicas

code, family, severity = "TDX012", "distributed", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"batchnorm-unsynchronised", "not-learning", "diverged", "validation-gap"})

APART = 1e-4
"""Distance of two ranks' weights over their size, at its greatest: 0 in all of fourteen healthy jobs; 0.1 to 0.34 in
four sick ones (another rate on one rank, noise of its own on each). A mixture of devices may round otherwise, by
1e-6."""

LOOKS = 2
"""Steps at which ranks held different weights and got the same gradients, at least."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every group of replicas that was one model at first and is no more."""
    for replicas in record.job.replicas if record.job else ():
        apart = _drifted(replicas)
        if len(apart) >= LOOKS and max(look.apart for look in apart) > APART:
            yield _finding(record, replicas, apart)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold."""
    for replicas in record.job.replicas if record.job else ():
        if sum(bool(look.shares_gradients) for look in replicas.looks) >= LOOKS and not replicas.looks[0].apart:
            yield "APART", max((look.apart for look in _drifted(replicas)), default=0.0)


def _drifted(replicas: Replicas) -> list[Look]:
    """The looks at which the weights differ and the gradients do not, in replicas that began alike."""
    if replicas.looks[0].apart:
        return []
    return [look for look in replicas.looks if look.shares_gradients and look.apart]


def _finding(record: Record, replicas: Replicas, apart: list[Look]) -> Finding:
    first = apart[0]
    row = max(first.rows, key=lambda row: row.apart)
    parameter = record.process.parameters.get(row.parameter)
    held = [o for o in record.optimizers if o.id == replicas.optimizer]
    rates = [rate for rate in first.told("lr") if isinstance(rate, float)]
    differ = len(set(rates)) > 1
    why = "their learning rates differ" if differ else "something changes the weights of some of them alone"
    return Finding(
        message=f"{replicas.named} began with the same weights and no longer hold them, "
        f"though they get the same gradients: {why}",
        site=held[0].site if held else None,
        layer=parameter.layer if parameter else None,
        evidence={
            "ranks": list(map(str, replicas.ranks)),
            "first seen apart before step": first.step,
            "parameter": parameter.name if parameter else "",
            "distance of the weights over their size": [look.apart for look in apart],
            **({"learning rate, rank by rank": ", ".join(f"{rate:.3g}" for rate in rates)} if differ else {}),
        },
        cure="use the same learning rate on every rank"
        if differ
        else "do on every rank whatever changes weights or skips a step",
        confidence=0.97,
    )


def sick() -> None:
    """One rank has another learning rate."""
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
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1 if rank == 0 else 0.05)  # TDX012
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


def healthy() -> None:
    """All have the same."""
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
    """Local SGD: each rank steps by itself, and every fifth step their weights are averaged."""
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
        model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for number, (images, labels) in enumerate(loader, 1):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
                if number % 5 == 0:
                    for parameter in model.parameters():
                        distributed.all_reduce(parameter.data)
                        parameter.data /= 2
        print(f"rank {rank}: {loss.item():.3f}")
        distributed.barrier()

    meeting, context = tempfile.mkdtemp(), multiprocessing.get_context("fork")
    ranks = [context.Process(target=train, args=(rank, meeting)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert not any(process.exitcode for process in ranks)
