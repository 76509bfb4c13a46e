"""A model in evaluation mode gives another answer each time it is asked.

Seen as scores that change from one evaluation of the same weights to the next, and checkpoints chosen by luck.
Measured by the deep look (`torchdx run --deep`): a copy in evaluation mode is given one batch twice, and its outputs
are not the same; the layer in which they part is named.

Hurts because noise that helps training (dropout, noise added to inputs or to hidden values, random masks) only hurts
the answers; and of two models, or of two epochs of one, the better can no longer be told from the luckier.

Helped by drawing random numbers only `if self.training:`, or by layers as `nn.Dropout` that know their mode; where the
answer is to be random, by its mean over several draws, or by draws from a generator with a fixed seed.

No fault when the model is to draw its answers: a variational autoencoder, a policy, dropout that measures uncertainty.
What it is meant to do cannot be seen, so that this is a note.

Sources: PyTorch documentation, `torch.nn.Module.eval`; Gal and Ghahramani, "Dropout as a Bayesian Approximation"
(2016), where this is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough

if TYPE_CHECKING:
    from torchdx.record import Record

code, family, severity = "TDX810", "generalisation", "note"
deep = True
needs = frozenset({"deep"})
explains = frozenset({"train-eval-gap"})

APART = 1e-3
"""Difference of two evaluations over their size, from which scores change: the same operations on the same numbers
differ by nothing at all on one machine, or by rounding (1e-7 in float32, 1e-3 in bfloat16) where threads race."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """The batch that was evaluated twice."""
    told = record.experiments.result("evaluated_twice")
    if not told:
        yield NotEnough(record.experiments.why_not("evaluated_twice"))
        return
    if told["difference"] <= APART:
        return
    layer = record.experiments.layer("evaluated_twice")
    yield Finding(
        message=f"two evaluations of the same batch differ by {told['difference']:.2g} of the answers' size: the model "
        f"draws random numbers in evaluation mode{f', first in `{layer.name}`' if layer else ''}",
        site=record.experiments.site("evaluated_twice"),
        evidence={"difference over size": told["difference"]},
        cure="draw them only `if self.training:`, unless the answer is meant to be random",
        confidence=0.9,
    )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    told = record.experiments.result("evaluated_twice")
    if told:
        yield "APART", told["difference"]


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(64, 64), nn.Linear(64, 10)  # TDX810

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            hidden = self.inner(images).relu()
            hidden = hidden + 0.1 * torch.randn_like(hidden)
            scores: torch.Tensor = self.outer(hidden)
            return scores

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
    model = Noisy()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            hidden = self.inner(images).relu()
            if self.training:
                hidden = hidden + 0.1 * torch.randn_like(hidden)
            scores: torch.Tensor = self.outer(hidden)
            return scores

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
    model = Noisy()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
