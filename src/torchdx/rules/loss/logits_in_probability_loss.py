"""A loss on probabilities is given raw scores, which no sigmoid has brought to 0..1.

Seen as "all elements of input should be between 0 and 1", or, on a GPU, as "device-side assert triggered" at some later
line; with luck with the first batches, and an end of training when a score first leaves the interval.

Hurts because `binary_cross_entropy` computes -y log(p) - (1 - y) log(1 - p) of what it is given. The output of a linear
layer or a convolution is any number: the logarithm of a negative one does not exist, so it is refused.

Helped by `binary_cross_entropy_with_logits` (`BCEWithLogitsLoss`), which applies the sigmoid itself, and more exactly
than can be done outside it; predictions are then `logits > 0`.

No fault when the model ends in a sigmoid, whichever file or wrapper applies it, or its numbers are clamped.

Sources: PyTorch documentation, `torch.nn.BCELoss` and `torch.nn.BCEWithLogitsLoss`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.losses import exchanged

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program

code, family, severity = "TDX607", "loss", "error"
needs = frozenset({"loss"})
explains = frozenset({"missing-step"})

LINEAR = "AddmmBackward0"
"""What autograd calls a linear layer with a bias; a product alone may well mix probabilities."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every binary cross entropy of what certainly comes right out of a linear layer or convolution."""
    for use in program.losses("binary_cross_entropy"):
        ending = use.ending
        if ending.kind != "logits":
            continue
        place = ending.by[0].home.site
        yield Finding(
            message=f"`{use.call.text[:50]}` needs probabilities, and these are raw scores "
            f"({ending.by[0].name.rpartition('.')[2]}, {place.seen_from(use.site.path)}), with no sigmoid",
            site=use.site,
            evidence={"input": ending.kind, "made_at": str(place)},
            cure="use binary_cross_entropy_with_logits (BCEWithLogitsLoss), which applies the sigmoid itself",
            confidence=0.97,
        )


def in_run(record: Record) -> Iterator[Finding]:
    """Every binary cross entropy whose input came right out of a linear layer at each look."""
    for use in record.losses_called("binary_cross_entropy"):
        looks = list(use.calls())
        made_by = {look["input"].get("made_by") for look in looks}
        if made_by == {LINEAR}:
            yield Finding(
                message="`binary_cross_entropy` needs probabilities, and was given raw scores, right out of a linear "
                f"layer, at all {len(looks)} looks: they were between 0 and 1 by luck",
                site=use.site,
                evidence={
                    "least input": min((look["input"].get("min", 0.0) for look in looks), default=0.0),
                    "greatest input": max((look["input"].get("max", 0.0) for look in looks), default=0.0),
                },
                cure="use binary_cross_entropy_with_logits (BCEWithLogitsLoss), which applies the sigmoid itself",
                confidence=0.97,
            )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Let the loss apply the sigmoid; or apply it before, where the loss was imported by its own name."""
    for use in program.losses("binary_cross_entropy"):
        if use.site != finding.site or use.input is None:
            continue
        found = exchanged(
            use, "BCEWithLogitsLoss", "binary_cross_entropy_with_logits", "let the loss apply the sigmoid"
        )
        if found is None:
            given = edits.method_of(use.call.file, use.input.node, "sigmoid()")
            found = edits.fix("apply the sigmoid", use.call.file, [given])
        if found is not None:
            yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn

    class Net(nn.Module):
        def __init__(self, features: int) -> None:
            super().__init__()
            self.hidden = nn.Linear(features, 32)
            self.out = nn.Linear(32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score: torch.Tensor = self.out(torch.relu(self.hidden(x)))
            return score.squeeze(1)

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target, dtype=torch.float32)
    model = Net(inputs.shape[1])
    loss_of = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    try:
        for _ in range(10):
            for rows in torch.randperm(len(inputs)).split(32):
                optimizer.zero_grad()
                loss = loss_of(model(inputs[rows]), labels[rows])  # TDX607
                loss.backward()
                optimizer.step()
    except RuntimeError as error:
        print(error)


def healthy() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn

    class Net(nn.Module):
        def __init__(self, features: int) -> None:
            super().__init__()
            self.hidden = nn.Linear(features, 32)
            self.out = nn.Linear(32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score: torch.Tensor = self.out(torch.relu(self.hidden(x)))
            return score.squeeze(1)

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target, dtype=torch.float32)
    model = Net(inputs.shape[1])
    loss_of = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    try:
        for _ in range(10):
            for rows in torch.randperm(len(inputs)).split(32):
                optimizer.zero_grad()
                loss = loss_of(model(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
    except RuntimeError as error:
        print(error)


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn

    class Weighted(nn.Module):
        def __init__(self, start: torch.Tensor) -> None:
            super().__init__()
            self.out = nn.Linear(start.shape[0], 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score: torch.Tensor = self.out(x).squeeze(1)
            return (score * 0.2 + 0.5).clamp(0.01, 0.99)

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target, dtype=torch.float32)
    model = Weighted(inputs[0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
