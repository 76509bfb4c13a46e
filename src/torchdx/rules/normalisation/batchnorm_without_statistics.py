"""Batch normalisation is in evaluation mode all through training, with statistics that nothing has ever touched.

Seen as a net that trains as if it had no normalisation: slowly, and only with small learning rates. Its running means
are exactly 0 and its running variances exactly 1, at the end as at the beginning.

Hurts because in evaluation mode y = gamma (x - 0) / sqrt(1 + eps) + beta: the layer scales and shifts, and normalises
nothing. Its statistics, which only training mode updates, never become those of the data.

Helped by `model.train()` before training; or, where the statistics are meant to be a trained net's, by loading them.

No fault when the statistics were loaded, which is what freezing them is for, or the layer's gain is frozen, too.

Sources: S. Ioffe and C. Szegedy, arXiv 1502.03167; PyTorch documentation, `torch.nn.Module.eval`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough

if TYPE_CHECKING:
    from torchdx.record import Norm, Record

code, family, severity = "TDX410", "normalisation", "error"
needs = frozenset({"norms", "gradients"})
explains = frozenset({"validation-gap", "not-learning", "initial-loss-off-scale", "vanishing-gradient"})

LOOKS = 4
"""Looks at the gradient of the layer's gain before it is said to be trained: a warm-up's first steps are fewer."""


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The most looks at the gradient of a layer that always rests on untouched statistics."""
    looks = [_looks(norm) for norm in _untouched(record)]
    if looks:
        yield "LOOKS", max(looks)


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """The layers that never used a batch's statistics, nor any others, in a model that was trained."""
    resting = _untouched(record)
    trained = [norm for norm in resting if _looks(norm) >= LOOKS]
    if trained:
        first = trained[0]
        yield Finding(
            message=f"batch normalisation normalises nothing (layers: {len(trained)}): the model is trained in "
            "evaluation mode, with running means of exactly 0 and variances of exactly 1",
            site=first.layer.site,
            layer=first.layer.name,
            evidence={"layers": len(trained), "looks": _looks(first)},
            cure="call `.train()` on the model before training",
            confidence=0.97,
        )
    elif resting:
        yield NotEnough(f"{LOOKS} looks at the gradients of a model with batch normalisation in evaluation mode")


def _untouched(record: Record) -> list[Norm]:
    """The layers that rest on the zeros and ones they began with, at every look and in every evaluation."""
    return [
        norm
        for norm in record.norms
        if norm.always_rests and all(told.get("untouched") for _, told in (*norm.training, *norm.evaluations))
    ]


def _looks(norm: Norm) -> int:
    """How many looks saw a gradient of the layer's own gain or shift: one that is frozen may be meant to rest."""
    gradients = (p.gradient for p in norm.layer.parameters if p.trainable)
    return max((len(gradient.where(lambda size: size > 0)) for gradient in gradients), default=0)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    norm = nn.BatchNorm1d(64)  # TDX410
    model = nn.Sequential(nn.Linear(64, 64, bias=False), norm, nn.ReLU(), nn.Linear(64, 10))
    with torch.no_grad():
        print(model.eval()(inputs[:1]).shape)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(6):
        for rows in torch.randperm(1600).split(64):
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
    norm = nn.BatchNorm1d(64)
    model = nn.Sequential(nn.Linear(64, 64, bias=False), norm, nn.ReLU(), nn.Linear(64, 10))
    with torch.no_grad():
        print(model.eval()(inputs[:1]).shape)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    model.train()
    for _ in range(6):
        for rows in torch.randperm(1600).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        print(f"{loss.item():.3f}")
