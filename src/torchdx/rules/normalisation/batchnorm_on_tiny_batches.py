"""Batch normalisation takes mean and variance of a handful of values.

Seen as a training loss that is noisy and an evaluation that is worse than training, the more so the fewer samples a
batch has. Counted are the values of one channel that are normalised together: samples, times places of a picture or a
sequence.

Hurts because the variance of n values is known to a relative error of sqrt(2 / (n - 1)) only: 0.37 for 16, 0.82 for 4.
Normalised values lie within sqrt(n - 1) of zero, whatever the input was, so that with two samples each becomes -1 or 1
and nothing but the order is left; and evaluation, with running statistics, computes another function than was trained.

Helped by group or layer normalisation, which do not look at the batch; by larger batches; by statistics taken over all
devices (`SyncBatchNorm`). Accumulating gradients over several small batches does not help.

No fault when a small batch holds many values of a channel, as feature maps do, or only the last batch of a pass is
small.

Sources: Y. Wu and K. He, "Group Normalization", arXiv 1803.08494; S. Ioffe, "Batch Renormalization", arXiv 1702.03275.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Norm, Record

code, family, severity = "TDX407", "normalisation", "warning"
needs = frozenset({"norms", "step"})
explains = frozenset(
    {
        *("batchnorm-barely-updated", "exploding-gradient", "vanishing-gradient", "parameter-unchanged"),
        *("validation-gap", "not-learning", "train-eval-gap"),
    }
)

VALUES = 16
"""Values of a channel below which they are few (catalogue, row 77: n < 16; Wu and He: clearly worse below 8)."""

BATCH = 8
"""Samples below which a batch is small: with 8 samples a table's columns still train well in runs that were measured
(digits, 98 % right), with 4 they lose several points."""

PAIR, PLACES = 2, 64
"""Samples of a batch, and values below which these are few although they are places of a picture: places of the same
two pictures are alike, so that they know the variance hardly better than two numbers do (Wu and He, figure 1: ten
points lost with two pictures). Of 145 healthy programs none normalises 8 samples or fewer; a sick one reads 2, and 32
values in one of its two layers."""

POOR, VAST = 0.5, 1024
"""Share of the loss learnt away below which a net of such pairs of pictures is hampered by them, with values up to
VAST: a sick one normalises 72 to 648, and is right in 82 % where it is in 99 with batches of 48."""

STEPS = 100
"""Optimizer steps before which little is learnt in any case."""


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The fewest values and samples that any layer normalised together, at its best."""
    seen = [norm for norm in record.norms if norm.values]
    if seen:
        yield "VALUES", min(norm.values for norm in seen)
        yield "BATCH", min(norm.batch for norm in seen)
        yield "PAIR", min(norm.batch for norm in seen)
        if pairs := [norm.values for norm in seen if norm.batch <= PAIR]:
            yield "PLACES", min(pairs)
            yield "VAST", min(pairs)
            yield "POOR", record.progress.gain


def in_run(record: Record) -> Iterator[Finding]:
    """The layers that never, at any look, normalised more than a few values together: one finding for all of them."""
    seen = [norm for norm in record.norms if norm.values]
    tiny = [norm for norm in seen if norm.values < VALUES and norm.batch < BATCH]
    most = VAST if _is_hampered(record) else PLACES
    alike = [norm for norm in seen if norm.values < most and norm.batch <= PAIR]
    grave = 2 * len(tiny) > len(seen) or 2 * len(alike) >= len(seen) > 0
    tiny = max(tiny, alike, key=len)
    if tiny:
        least = min(tiny, key=lambda norm: norm.values)
        yield Finding(
            message=f"batch normalisation takes mean and variance of {least.values} values: {_count(tiny, seen)}, with "
            f"{least.batch} samples in a batch. They are known to a relative error of {_error(least.values):.0%}",
            site=least.layer.site,
            layer=least.layer.name,
            evidence={"values of a channel": least.values, "samples": least.batch, "layers": len(tiny)},
            cure="normalise within samples (nn.GroupNorm, nn.LayerNorm), or enlarge the batch",
            confidence=0.9,
            severity="warning" if grave else "note",
        )


def _is_hampered(record: Record) -> bool:
    """Did a net whose loss has a scale learn little, in time enough?"""
    progress = record.progress
    return bool(progress.prior) and progress.finite and progress.gain < POOR and record.steps >= STEPS


def _count(tiny: list[Norm], seen: list[Norm]) -> str:
    return f"{len(tiny)} of {len(seen)} layers" if len(seen) > 1 else f"`{tiny[0].layer.name}`"


def _error(values: int) -> float:
    return float((2 / max(1, values - 1)) ** 0.5)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    norm = nn.BatchNorm1d(64)  # TDX407
    model = nn.Sequential(nn.Linear(64, 64, bias=False), norm, nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for rows in torch.randperm(1600).split(4):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    norm = nn.LayerNorm(64)
    model = nn.Sequential(nn.Linear(64, 64, bias=False), norm, nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for rows in torch.randperm(1600).split(4):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for rows in torch.randperm(1600).split(4):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")
