"""A model is measured before the running statistics of its batch normalisation are those of the data.

Seen as an evaluation that is far worse than training after a short training, and gets better by itself later. Compared
are the running variances with those of the batch that is evaluated.

Hurts because the statistics begin at 0 and 1 and move by r <- (1 - m) r + m b: after k batches a share (1 - m)^k is
still what they began with, 12 % after 20 batches at m = 0.1, 1 % after 44. Where the layer's inputs are small, a ninth
of a variance of 1 is more than all the rest.

Helped by more batches before the model is measured; by a larger momentum in a short training; by
`torch.optim.swa_utils.update_bn` before the measurement.

No fault when the measured statistics fit the data all the same, or only the first evaluations come too early.

Sources: S. Ioffe and C. Szegedy, arXiv 1502.03167; PyTorch documentation, `torch.nn.BatchNorm2d`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.rules.normalisation.batchnorm_momentum_misread import LARGEST, SMALL

if TYPE_CHECKING:
    from torchdx.record import Norm, Record

code, family, severity = "TDX411", "normalisation", "note"
needs = frozenset({"norms"})
explains = frozenset({"validation-gap", "train-eval-gap"})

LEFT = 0.05
"""Share of the zeros and ones they began with in the statistics last used; 28 batches of the default momentum. Healthy
runs that were measured end at 1e-3 and less."""

SPREAD = 3.0
"""Running variance over the batch's, or the inverse. Healthy runs end between 0.9 and 1.3; a first evaluation
after 22 batches, which is not judged, reads up to 4.6."""

VALUES = 64
"""Values of a channel in the evaluated batch, so that its variance is known to 18 %."""


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The greatest share left, and how far off the variances are at most, in the last evaluation."""
    known = [norm for norm in record.norms if norm.leftover is not None and norm.last.get("spread")]
    if known:
        yield "LEFT", max(norm.leftover or 0.0 for norm in known)
        yield "SPREAD", max(map(_off, known))
        yield "VALUES", min(norm.last["values"] for norm in known)


def in_run(record: Record) -> Iterator[Finding]:
    """The layer that is farthest off in the last evaluation, where it has hardly been updated."""
    early = [norm for norm in record.norms if _is_early(norm) and _off(norm) > SPREAD]
    if early:
        worst = max(early, key=_off)
        updates, spread = worst.last["updates"], worst.last["spread"]
        yield Finding(
            message=f"after {updates} batches, {worst.leftover:.0%} of the running statistics are the zeros and ones "
            f"they began with: the variance used in evaluation is {spread:.2g} times the data's",
            site=worst.layer.site,
            layer=worst.layer.name,
            evidence={"updates": updates, "variance over the data's": spread, "layers": len(early)},
            cure="measure after more batches, or gather statistics first (`torch.optim.swa_utils.update_bn`)",
            confidence=0.8,
        )


def _is_early(norm: Norm) -> bool:
    usual = norm.momentum is not None and SMALL <= norm.momentum <= LARGEST
    few = norm.leftover is not None and norm.leftover > LEFT and norm.last["updates"] > 0
    return usual and few and bool(norm.last.get("spread")) and norm.last["values"] >= VALUES


def _off(norm: Norm) -> float:
    spread = float(norm.last.get("spread") or 1.0)
    return max(spread, 1 / spread)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    norm = nn.BatchNorm2d(16)  # TDX411
    model = nn.Sequential(nn.Conv2d(1, 16, 3, bias=False), norm, nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for rows in torch.randperm(1500).split(150):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(inputs[1500:]).argmax(1) == labels[1500:]).float().mean()
    print(f"{loss.item():.3f} {right.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    norm = nn.BatchNorm2d(16)
    model = nn.Sequential(nn.Conv2d(1, 16, 3, bias=False), norm, nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for rows in torch.randperm(1500).split(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = (model(inputs[1500:]).argmax(1) == labels[1500:]).float().mean()
    print(f"{loss.item():.3f} {right.item():.3f}")
