"""Batch normalisation has a momentum that was meant for another library, or that updates nothing.

Seen as an evaluation that jumps from epoch to epoch (a momentum such as 0.99), or that is far worse than training
although nothing overfits (a momentum such as 0.001 in a short training, or 0).

Hurts because PyTorch updates r <- (1 - m) r + m b with its momentum m, where Keras and the paper write
r <- m r + (1 - m) b. With m = 0.99, 99 % of the running statistics are those of the last batch, an estimate as noisy as
one batch is. After k batches a share (1 - m)^k of them still is the zeros and ones that they began with: all of it with
m = 0, 37 % with m = 0.001 after 1000 batches.

Helped by `momentum=0.1`, the default, which is 0.9 in Keras; 0.01 for Keras's 0.99. `momentum=None` takes the plain
average of all batches.

No fault when a small momentum has had the batches it needs, or the statistics were loaded.

Sources: PyTorch documentation, `torch.nn.BatchNorm2d`, note on momentum; Keras documentation, `BatchNormalization`;
S. Ioffe and C. Szegedy, arXiv 1502.03167.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Severity

if TYPE_CHECKING:
    from torchdx.record import Norm, Record

code, family, severity = "TDX408", "normalisation", "warning"
needs = frozenset({"norms"})
explains = frozenset({"validation-gap", "batchnorm-barely-updated", "train-eval-gap"})

LARGEST = 0.5
"""Momentum above which the last batch outweighs all others (catalogue, row 77). Libraries of models use 3e-4 to 0.1."""

SMALL = 0.01
"""Momentum below which a short training leaves the statistics behind (catalogue, row 77)."""

LEFT = 0.05
"""Share of the zeros and ones they began with in the statistics last used; 44 batches of the default leave 1 %."""


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The greatest and the least momentum, and the greatest share left, of the layers that have a momentum."""
    momenta = [norm.momentum for norm in record.norms if norm.momentum is not None]
    if momenta:
        yield "LARGEST", max(momenta)
        yield "SMALL", min(momenta)
    left = [norm.leftover for norm in record.norms if norm.leftover is not None]
    if left:
        yield "LEFT", max(left)


def in_run(record: Record) -> Iterator[Finding]:
    """The layers whose momentum is too large, or so small that the statistics in use are not those of the data."""
    trained = [norm for norm in record.norms if norm.values and norm.momentum is not None]
    forgetful = [norm for norm in trained if (norm.momentum or 0.0) > LARGEST]
    small = [norm for norm in trained if (norm.momentum or 0.0) < SMALL and norm.last.get("updates")]
    stuck = [norm for norm in small if (norm.leftover or 0.0) > LEFT]
    if forgetful:
        share = forgetful[0].momentum or 0.0
        words = f"{share:.0%} of the running statistics are those of the last batch: momentum={share:g} is its share"
        yield _finding(forgetful, words, f"momentum={1 - share:.3g} if it is Keras's {share:g}")
    if stuck:
        share, frozen = stuck[0].leftover or 0.0, all(norm.last.get("untouched") for norm in stuck)
        words = "evaluation normalises with the zeros and ones that the running statistics began with"
        if not frozen:
            words = f"{share:.0%} of the running statistics in evaluation are the zeros and ones that they began with"
        words += f": momentum={stuck[0].momentum:g}, {stuck[0].last.get('updates')} batches"
        yield _finding(stuck, words, "momentum=0.1, or momentum=None for a plain average", "error" if frozen else None)


def _finding(norms: list[Norm], words: str, instead: str, severity: Severity | None = None) -> Finding:
    first = norms[0]
    return Finding(
        message=f"{words} ({len(norms)} layer{'s' * (len(norms) > 1)})",
        site=first.layer.site,
        layer=first.layer.name,
        evidence={"momentum": first.momentum, "updates": first.last.get("updates"), "layers": len(norms)},
        cure=instead,
        confidence=0.95 if severity == "error" else 0.85,
        severity=severity,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    norm = nn.BatchNorm1d(64, momentum=0.99)  # TDX408
    model = nn.Sequential(nn.Linear(64, 64, bias=False), norm, nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(6):
        model.train()
        for rows in training[torch.randperm(len(training))].split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = (model(inputs[validation]).argmax(1) == labels[validation]).float().mean()
        print(f"{loss.item():.3f} {right.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    norm = nn.BatchNorm1d(64, momentum=0.1)
    model = nn.Sequential(nn.Linear(64, 64, bias=False), norm, nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(6):
        model.train()
        for rows in training[torch.randperm(len(training))].split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = (model(inputs[validation]).argmax(1) == labels[validation]).float().mean()
        print(f"{loss.item():.3f} {right.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    model = nn.Sequential(
        nn.BatchNorm1d(64, momentum=None),
        nn.Linear(64, 64, bias=False),
        nn.BatchNorm1d(64, momentum=0.02),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(6):
        model.train()
        for rows in training[torch.randperm(len(training))].split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(inputs[validation]).argmax(1) == labels[validation]).float().mean()
    print(f"{loss.item():.3f} {right.item():.3f}")
