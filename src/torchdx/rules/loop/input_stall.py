"""Training waits for its data: most of a step's time passes before the batch is there.

Seen as an accelerator, or a processor, that is busy half of the time only. Measured is the time between asking the
loader for a batch and having it, as a share of all the time that steps take.

Hurts because with `num_workers=0` batches are made in between steps, so that a step takes t_data + t_model where with
enough workers it takes the greater of the two.

Helped by workers (`num_workers`, `persistent_workers=True`), by decoding and resizing once and storing the result, by
transforms on whole batches or on the accelerator, and by `pin_memory=True` there.

No fault when batches come within milliseconds. A note where less than ten seconds were lost: a short trial of a long
training is told, and a small training is left in peace.

Sources: PyTorch documentation, "Performance tuning guide" and `torch.utils.data`, section on single- and multi-process
loading; PyTorch Lightning, `SimpleProfiler`.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Loader, Record

code, family, severity = "TDX912", "loop", "warning"
needs = frozenset({"step", "loader"})
explains = frozenset({"slow"})

SHARE = 0.4
"""Share of the time of steps that is waited (catalogue, row 86: 30 %; and a margin for machines that are shared)."""

EACH = 0.01
"""Seconds that a batch is waited for. Loaders of tensors in memory take up to 2 ms a batch; decoding pictures, tens."""

LOST = 10.0
"""Seconds lost in the whole run from which it is worth a warning; below, a note."""

STEPS = 16
"""Steps, after the first eight, that are averaged over."""

WARM_UP = 8
"""Steps at the start that are left out: workers start, caches fill."""

ASIDE = 10.0
"""Times the usual time of the model's part of a step beyond which something else was done in it: an evaluation."""


class Waiting(NamedTuple):
    """What waiting for data costs: its share, seconds a step, and seconds in the whole run."""

    share: float
    each: float
    lost: float
    steps: int


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """How long was waited."""
    waiting = _waiting(record)
    if waiting is not None:
        yield "SHARE", waiting.share
        yield "EACH", waiting.each
        yield "LOST", waiting.lost
        yield "STEPS", waiting.steps


def in_run(record: Record) -> Iterator[Finding]:
    """A loader that takes long for each batch, and most of the time of the steps."""
    waiting = _waiting(record)
    if waiting is None or waiting.steps < STEPS or waiting.share < SHARE or waiting.each < EACH:
        return
    loader = _loader(record)
    yield Finding(
        message=f"{waiting.share:.0%} of the time of a step is spent waiting for data: {1000 * waiting.each:.0f} ms "
        f"each, about {waiting.lost:.0f} s in this run" + (f", with num_workers={loader.workers}" if loader else ""),
        site=loader.site if loader else None,
        evidence={
            "share waited": round(waiting.share, 3),
            "seconds a step": round(waiting.each, 4),
            "seconds lost": round(waiting.lost, 1),
            "workers": loader.workers if loader else None,
        },
        cure="load with workers (num_workers, persistent_workers), or make the loading itself cheaper",
        confidence=0.9,
        severity="warning" if waiting.lost >= LOST else "note",
    )


def _waiting(record: Record) -> Waiting | None:
    """Over the steps that nothing else was done in; steps at which torchdx looked closely are left out."""
    facts = [f for f in record.process.all("step") if f["n"] > WARM_UP and not f["looked"] and f.get("took", 0.0) > 0]
    if not facts:
        return None
    usual = median(fact["took"] - fact["wait"] for fact in facts)
    plain = [fact for fact in facts if fact["took"] - fact["wait"] <= ASIDE * usual]
    waited, took = sum(fact["wait"] for fact in plain), sum(fact["took"] for fact in plain)
    if not plain or not took:
        return None
    return Waiting(waited / took, waited / len(plain), waited / len(plain) * record.steps, len(plain))


def _loader(record: Record) -> Loader | None:
    """The loader that training takes its batches from; the one with the most batches where that is not known."""
    trained_on = {phase.loader for phase in record.phases("train")}
    loaders = [loader for loader in record.loaders if loader.id in trained_on] or list(record.loaders)
    return max(loaders, key=lambda loader: loader.batches or 0, default=None)


def sick() -> None:
    import time

    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset[tuple[torch.Tensor, torch.Tensor]]):
        def __init__(self) -> None:
            digits = load_digits()
            self.inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
            self.labels = torch.tensor(digits.target)

        def __len__(self) -> int:
            return 640

        def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
            time.sleep(0.001)
            return self.inputs[place], self.labels[place]

    torch.manual_seed(0)
    loader = DataLoader(Pictures(), batch_size=16, shuffle=True)  # TDX912
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(2):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import time

    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset[tuple[torch.Tensor, torch.Tensor]]):
        def __init__(self) -> None:
            digits = load_digits()
            time.sleep(0.001 * 640)
            self.inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
            self.labels = torch.tensor(digits.target)

        def __len__(self) -> int:
            return 640

        def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
            return self.inputs[place], self.labels[place]

    torch.manual_seed(0)
    loader = DataLoader(Pictures(), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(2):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
