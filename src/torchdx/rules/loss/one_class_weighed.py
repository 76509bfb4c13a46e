"""The loss weighs a single class: all other classes that occur have weight 0.

Seen as a model that answers one class to everything, with a loss near 0; or as a loss that is NaN as soon as a batch
holds none of that class, since a weighted mean is divided by the sum of its weights.

Hurts because a sample of weight 0 has no gradient: whatever the model says of it costs nothing, and to answer the one
class always is the best that it can do.

Helped by computing the weights in floating point (`//` on counts gives 0 for all but the rarest), by one over the
frequency of each class, and by a look at the weights before they are used.

No fault when some classes are left out on purpose (a background, padding), as long as two remain; nor when labels of
one class are all there is.

Sources: PyTorch documentation, `torch.nn.CrossEntropyLoss`, on `weight` and the mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record.weighing import only_weighed

if TYPE_CHECKING:
    from torchdx.record import Record

code, family, severity = "TDX635", "loss", "error"
needs = frozenset({"answers", "loss"})
explains = frozenset(
    {
        *("not-learning", "non-finite", "diverged", "validation-gap"),
        *("nonfinite-value", "one-class-predictions", "class-never-right", "initial-loss-off-scale"),
        *("learning-rate-too-low", "learning-rate-too-high", "vanishing-gradient", "parameter-unchanged"),
    }
)

LABELS = 60
"""Labels that must have been seen in training, so that a second class of some weight would be among them. Of 145
healthy programs none weighs a single class, whatever the number; a sick one reads 1000 and more."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every classifying loss in training that weighs one of the classes that occur, and none of the others."""
    for group in record.answers:
        label = only_weighed(record, group) if group.phase == "train" else None
        wanted = group.counts("wanted")
        if label is None or sum(wanted.values()) < LABELS:
            continue
        share = wanted[label] / sum(wanted.values())
        rest = "other, to which" if len(wanted) == 2 else f"{len(wanted) - 1} others, to which"
        yield Finding(
            message=f"class {label} is the only one that the loss weighs: the weight of the {rest} {1 - share:.0%} of "
            f"the labels belong, is 0. Nothing but class {label} is learnt, and a batch without it has a mean of 0 / 0",
            site=group.site,
            evidence={"class": label, "classes of weight 0": len(wanted) - 1, "share of their labels": 1 - share},
            cure="look at how the weights are computed (whole numbers divided by `//` give 0); weigh classes by one "
            "over their frequency",
            confidence=0.97,
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for group in record.answers:
        if group.phase == "train" and only_weighed(record, group) is not None:
            yield "LABELS", sum(group.counts("wanted").values())


def sick() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn

    torch.manual_seed(0)
    wine = load_wine()
    inputs = torch.tensor(wine.data, dtype=torch.float32)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    labels = torch.tensor(wine.target)
    counts = torch.bincount(labels)
    weight = (counts.min() // counts).float()
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(60):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows], weight)  # TDX635
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn

    torch.manual_seed(0)
    wine = load_wine()
    inputs = torch.tensor(wine.data, dtype=torch.float32)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    labels = torch.tensor(wine.target)
    counts = torch.bincount(labels)
    weight = counts.min() / counts
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(60):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows], weight)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn

    torch.manual_seed(0)
    wine = load_wine()
    inputs = torch.tensor(wine.data, dtype=torch.float32)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    labels = torch.tensor(wine.target)
    weight = torch.tensor([0.0, 1.0, 1.0])  # the first is of no interest
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(60):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows], weight)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
