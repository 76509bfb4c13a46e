"""Each rank clips its own gradient before the gradients are averaged.

Seen as steps that are shorter than the bound allows, and as a result that depends on how many ranks there are;
measured is that `clip_grad_norm_` found another norm on each rank, above the bound, at steps where all ranks then
step with the same gradient.

Hurts because clipping and averaging do not commute: (1/N) sum c_r g_r with c_r = min(1, bound / |g_r|) points
elsewhere than (1/N) sum g_r. Ranks with large gradients, often those with the rare and telling samples, are weighed
down, and the mean of N vectors clipped to the bound is shorter than the bound: noise of the batches cancels after it
was counted.

Helped by averaging first and clipping then: with `DistributedDataParallel` after the last `backward()`, outside
`no_sync()`; where gradients are averaged by hand, after the all-reduce.

No fault when the norms agree on all ranks, when nothing is clipped, when parameters are sharded, and where each
sample's or each client's gradient is clipped on purpose, as for differential privacy.

Sources: PyTorch documentation, "Distributed Data Parallel" and "Automatic Mixed Precision examples" (clipping after
all gradients are there); R. Pascanu et al., "On the difficulty of training recurrent neural networks" (2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.job import Look, Replicas

code, family, severity = "TDX016", "distributed", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

APART = 0.01
"""Distance of the norms that ranks found, over the greatest, at the fourth largest look: 0 in three healthy jobs, as
norms of averaged gradients are equal to the bit; 0.12 and 0.15 in two sick ones."""

LOOKS = 4
"""Steps at which they differed and some rank was clipped, at least."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every group of replicas that are clipped one by one."""
    for replicas in record.job.replicas if record.job else ():
        looks = [look for look in _clipped(replicas) if _apart(look) > APART]
        if len(looks) >= LOOKS:
            norms = [clip[0] for clip in _clips(looks[-1])]
            yield Finding(
                message=f"{replicas.named} clip gradients of their own, which are averaged only then",
                site=site_of(_clips(looks[-1])[0][2]),
                evidence={
                    "ranks": list(map(str, replicas.ranks)),
                    "steps at which they differed": len(looks),
                    f"norm before step {looks[-1].step}, rank by rank": ", ".join(f"{norm:.3g}" for norm in norms),
                    "bound": _clips(looks[-1])[0][1],
                },
                cure="average first: clip after the last backward pass outside no_sync(), or after the all-reduce",
                confidence=0.93,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold."""
    for replicas in record.job.replicas if record.job else ():
        apart = sorted((_apart(look) for look in _clipped(replicas)), reverse=True)
        if len(apart) >= LOOKS:
            yield "APART", apart[LOOKS - 1]


def _clips(look: Look) -> list[Any]:
    """Norm, bound and site on each rank; empty where one did not clip."""
    clips = [fact.get("clip") for fact in look.facts]
    return [clip for clip in clips if clip] if all(clips) else []


def _clipped(replicas: Replicas) -> list[Look]:
    """The looks at which all ranks clipped, some above the bound, and all of them stepped alike."""
    looks = [look for look in replicas.looks if look.shares_gradients and _clips(look)]
    return [look for look in looks if any(norm > bound for norm, bound, _ in _clips(look))]


def _apart(look: Look) -> float:
    norms = [clip[0] for clip in _clips(look)]
    return float((max(norms) - min(norms)) / max(norms)) if max(norms) > 0 else 0.0


def sick() -> None:
    """Gradients are clipped, and then averaged by hand."""
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
            for images, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.3)  # TDX016
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
    """They are averaged, and then clipped."""
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
            for images, labels in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    distributed.all_reduce(parameter.grad)
                    parameter.grad /= 2
                nn.utils.clip_grad_norm_(model.parameters(), 0.3)
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
    """The wrapper has averaged them by the time they are clipped."""
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
                nn.utils.clip_grad_norm_(model.parameters(), 0.3)
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
