"""A part of the labels is wrong.

Seen as a training loss that stays high, or a network that learns samples by heart as its validation loss rises early.
Measured are the labels of each sample's ten nearest others: nearly all samples have the label of those around them,
and some, a group of its own, have one that those around contradict.

Hurts because cross-entropy is greatest where a label is contradicted: late in training most of the gradient comes from
the wrong ones, and is spent on remembering them.

Helped by looking at the suspects that are named, and correcting or removing them; where there are too many, by a loss
that trusts labels less (label smoothing, a symmetric or truncated loss), small-loss selection, and stopping early.

No fault when classes overlap: votes then spread evenly from none to ten, and are no two groups.

Sources: Arazo et al. 2019, "Unsupervised label noise modeling and loss correction", where two groups of losses are told
apart likewise; Wilson 1972 on editing by nearest neighbours; Northcutt et al. 2021, "Pervasive label errors".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program

code, family, severity = "TDX513", "data", "warning"
needs = frozenset({"neighbours"})
explains = frozenset({"overfitting"})

GAIN = 10.0
"""Nats by which two groups are the better model than one. Digits, wine and cancer as they are: below 0; with 10 % of
labels exchanged 60 and more."""
VOTES = 0.15
"""Share of those around that agree, in the group that is contradicted: where labels are dealt out at random it is one
over the number of classes; true but odd samples read 0.3 to 0.6."""
MOST = 0.8
"""The same in the other group, at least, less the share of labels that are wrong."""
SHARE = 0.03
"""The least share of labels that is worth a word."""


def in_audit(record: Record, program: Program | None) -> Iterator[Finding]:
    """Every data set for training with a group of labels that those around contradict."""
    for pipeline in record.pipelines:
        fact = pipeline.one("neighbours")
        if not fact or pipeline.role == "eval" or not (fact["gain"] > GAIN and fact["noise"] > SHARE):
            continue
        low, high = fact["votes"]
        if low < max(VOTES, 1.5 / fact["classes"]) and high > MOST * (1 - fact["noise"]):
            suspects = ", ".join(
                f"{index} ({label}, among {other})" for _, index, label, other, _ in fact["suspects"][:5]
            )
            yield Finding(
                message=f"about {fact['noise']:.0%} ± {2 * fact['deviation_of_noise']:.0%} of the labels are "
                "contradicted by the samples around them, as a group of their own: they are wrong",
                site=pipeline.site,
                evidence={"gain of two groups, nats": fact["gain"], "suspects": suspects or None},
                cure="look at the suspects, correct or remove them; or use a loss that trusts labels less",
                confidence=0.85,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    facts = [fact for pipeline in record.pipelines if (fact := pipeline.one("neighbours"))]
    if facts:
        yield "GAIN", max(fact["gain"] for fact in facts)
        yield "VOTES", min(fact["votes"][0] for fact in facts)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs, targets = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    wrong = torch.rand(len(targets)) < 0.3
    targets[wrong] = torch.randint(10, (int(wrong.sum()),))
    train = DataLoader(TensorDataset(inputs, targets), batch_size=50, shuffle=True)  # TDX513
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(4):
        for batch, wanted in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs, targets = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    train = DataLoader(TensorDataset(inputs, targets), batch_size=50, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(4):
        for batch, wanted in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()


def looks_like_it() -> None:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    labels = torch.randint(2, (1500,))
    inputs = torch.randn(1500, 2) + 1.2 * labels[:, None]
    train = DataLoader(TensorDataset(inputs, labels), batch_size=50, shuffle=True)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(4):
        for batch, wanted in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
