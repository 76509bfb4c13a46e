"""Ranks that train one model together step with gradients of their own.

Seen as a job on N ranks that learns no better than one of them, and as results that depend on the rank asked;
measured is that the optimizers of two ranks get different gradients for the same parameter at the same step.

Hurts because data parallel training is one model on N ranks: each holds g_r, the gradient on its share of the batch,
and all must step with their mean (1/N) sum g_r. `DistributedDataParallel` averages them in hooks that its own
`forward` arms. Who calls the model inside it, steps inside `no_sync()`, or never wraps the model, trains N models on
1/N of the data each, and keeps the one of rank 0.

Helped by calling the wrapper (`ddp(x)`, not `ddp.module(x)` nor the model it was made of); by leaving `no_sync()` for
the last backward pass before each step; by wrapping all that is optimised; by averaging `p.grad` over the ranks by
hand.

No fault when the program itself hands as much between ranks as its parameters hold (averaged gradients, models
averaged now and then, parameter servers, pipelines), when parameters are sharded, when a communication hook is in,
when ranks may join early, and when nothing says that the ranks train one model: neither a wrapper nor a sampler that
deals out the data.

Sources: S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training" (2020); PyTorch
documentation, `DistributedDataParallel` and its `no_sync`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Severity, Site

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.job import Job, Look, Replicas, Row

code, family, severity = "TDX010", "distributed", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        "replicas-differ-at-start",
        "replicas-diverge",
        "clipped-by-rank",
        "batchnorm-unsynchronised",
        "not-learning",
        "validation-gap",
    }
)

APART = 1e-3
"""Distance of two ranks' gradients over their size: 0 in all of ten healthy jobs, as averaged ones are equal to the
bit; 1.3 to 2.3 in six sick ones (model inside called, no_sync left on, never wrapped, a head outside the wrapper)."""

LOOKS = 2
"""Steps at which that was seen, at least: those where a wrapper is called for the first time are not enough."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every group of replicas whose gradients differ, though they train one model."""
    if record.job is None:
        return
    for replicas in record.job.replicas:
        looks = [look for look in replicas.looks if _apart(look) > APART] if _is_one_model(record.job, replicas) else []
        if len(looks) >= LOOKS:
            yield _finding(record, replicas, looks)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold."""
    for replicas in record.job.replicas if record.job else ():
        if _is_one_model(record.job, replicas):
            apart = sorted((_apart(look) for look in replicas.looks), reverse=True)
            yield "APART", apart[min(LOOKS, len(apart)) - 1]


def _is_one_model(job: Job | None, replicas: Replicas) -> bool:
    meant = replicas.wrapped or (job is not None and job.deals_out_data)
    return meant and not replicas.special and not replicas.shared_by_hand


def _apart(look: Look) -> float:
    return max((row.gradients_apart or 0.0 for row in look.rows), default=0.0)


def _finding(record: Record, replicas: Replicas, looks: list[Look]) -> Finding:
    worst = max((row for look in looks for row in look.rows), key=lambda row: row.gradients_apart or 0.0)
    why, cure = _why(replicas, looks)
    parameter = record.process.parameters.get(worst.parameter)
    outside = replicas.wrapped and not worst.wrapped
    strength: Severity = "error" if replicas.wrapped else "warning"
    return Finding(
        message=f"{replicas.named} step with different gradients: {why}",
        site=parameter.site if outside and parameter else _where(record),
        layer=parameter.layer if parameter else None,
        evidence={
            "ranks": list(map(str, replicas.ranks)),
            "steps at which gradients differed": len(looks),
            "steps compared": len(replicas.looks),
            "parameter": parameter.name if parameter else "",
            "RMS of its gradient, rank by rank": ", ".join(f"{size:.3g}" for size in worst.gradients),
            "distance of the gradients over their size": worst.gradients_apart,
        },
        cure=cure,
        confidence=0.97 if replicas.wrapped else 0.85,
        severity=strength,
    )


def _why(replicas: Replicas, looks: list[Look]) -> tuple[str, str]:
    differing: list[Row] = [row for look in looks for row in look.rows if (row.gradients_apart or 0.0) > APART]
    if not replicas.wrapped:
        words = "each gets its own part of the data, and nothing averages what they learn from it"
        return words, "wrap the model in DistributedDataParallel and call the wrapper"
    if not any(row.wrapped for row in differing):
        words = "what they optimise lies outside DistributedDataParallel, which averages only what it wraps"
        return words, "put the parameters into the module that is wrapped, or wrap them too"
    if not any(look.all_wrappers("called") for look in looks):
        words = "DistributedDataParallel was made but never called; the model inside it was"
        return words, "call the wrapper, not the model it was made of"
    if not any(look.all_wrappers("syncs") for look in looks):
        return "they step inside no_sync()", "leave no_sync() for the last backward pass before each step"
    words = (
        "DistributedDataParallel did not average them in these steps; the forward pass went past it or ran in no_sync()"
    )
    return words, "call the wrapper, outside no_sync(), for the last backward pass before each step"


def _where(record: Record) -> Site | None:
    """The line of the training loss, else that of the optimizer."""
    losses = [use.site for use in record.losses if use.site and any(True for _ in use.calls())]
    return next(iter([*losses, *(optimizer.site for optimizer in record.optimizers)]), None)


def sick() -> None:
    """The model inside the wrapper is called."""
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
        model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
        replica = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(replica.parameters(), lr=0.1)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for images, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)  # TDX010
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
    """The wrapper is called."""
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
        model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
        replica = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(replica.parameters(), lr=0.1)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for images, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(replica(images), labels)
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
    """Gradients are gathered over two batches under `no_sync`, and evaluation on rank 0 calls the model inside."""
    import multiprocessing
    import tempfile
    from contextlib import nullcontext

    import torch
    from sklearn.datasets import load_digits
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    def train(rank: int, meeting: str) -> None:
        distributed.init_process_group("gloo", f"file://{meeting}/point", rank=rank, world_size=2)
        torch.manual_seed(rank)
        digits = load_digits()
        pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
        labels = torch.tensor(digits.target)
        data = TensorDataset(pictures[:1536], labels[:1536])
        sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(data)
        loader = DataLoader(data, batch_size=16, sampler=sampler)
        model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
        replica = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(replica.parameters(), lr=0.1)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for number, (images, wanted) in enumerate(loader, 1):
                with replica.no_sync() if number % 2 else nullcontext():
                    loss = nn.functional.cross_entropy(replica(images), wanted) / 2
                    loss.backward()
                if number % 2 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            if rank == 0:
                model.eval()
                with torch.no_grad():
                    unseen = nn.functional.cross_entropy(model(pictures[1536:]), labels[1536:])
                model.train()
                print(f"{unseen.item():.3f}")
        distributed.barrier()

    meeting, context = tempfile.mkdtemp(), multiprocessing.get_context("fork")
    ranks = [context.Process(target=train, args=(rank, meeting)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert not any(process.exitcode for process in ranks)
