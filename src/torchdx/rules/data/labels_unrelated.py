"""The labels have nothing to do with the inputs they stand beside.

Seen as a training loss that falls slowly, by learning samples by heart, while validation stays at chance. Every
gradient, every activation and the learning rate look healthy. Measured by the deep look (`torchdx run --deep`): copies
are trained on a few hundred of the program's own samples, once with their labels and several times with the same labels
dealt out anew. The true labels are no easier to learn, and tell nothing about samples held out.

Hurts because a network with enough parameters learns any labels by heart. What it learns carries over to new samples
only as far as inputs and labels belong together.

Helped by looking at twenty samples with their labels, after every transform. Inputs and labels were often shuffled or
sorted apart, read from files listed in another order, or filtered on one side only.

No fault when the run itself learns, or validates better than chance; nor where labels come of the model's own choices.

Sources: C. Zhang et al., arXiv 1611.03530; A. Karpathy, "A Recipe for Training Neural Networks" (2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean, pstdev
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Fact, Record

code, family, severity = "TDX511", "data", "warning"
deep = True
needs = frozenset({"deep"})
explains = frozenset({"not-learning", "validation-gap", "overfitting", "stuck-at-minimum", "learning-rate-too-low"})

EASIER = 0.05
"""Share by which true labels' training loss is lower than dealt ones'. Healthy programs whose copies learn (30):
0.15 to 0.99; labels that were shuffled (2): -0.01; a loss broadcast over all pairs: 0.005."""
CARRIES = 0.97
"""Held-out loss over that of the best constant answer, below which something carries over. Healthy: 0.01 to
0.82, and 1.0 to 1.2 for linear regressions that a copy does not learn in 100 steps; shuffled labels: 1.0 and 1.1."""
MOVED = 0.97
"""Training loss on dealt labels over a constant answer's, below which the copy can learn by heart, so that the
comparison means something. With shuffled labels 0.88 and 0.94; linear regressions 1.0 and more."""
GAIN = 0.5
"""Share of the loss learnt away in the run itself, above which it may have learnt more than by heart."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """True labels that are no easier to learn than labels dealt out anew."""
    told = record.experiments.result("baselines")
    if not told:
        yield NotEnough(record.experiments.why_not("baselines"))
        return
    read = dict(readings(record))
    if not {"EASIER", "CARRIES", "MOVED", "GAIN"} <= set(read) or not record.loaders or _validates(record):
        return
    spread = pstdev(one["train"] for one in told["shuffled"])
    dealt = mean(one["train"] for one in told["shuffled"])
    as_hard = read["EASIER"] < EASIER and dealt - told["real"]["train"] < max(3 * spread, EASIER * dealt)
    if not as_hard or read["CARRIES"] < CARRIES or read["GAIN"] > GAIN:
        return
    if read["MOVED"] > MOVED:
        yield NotEnough("a model that can learn by heart")
        return
    yield _finding(record, told, dealt)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    told = record.experiments.result("baselines")
    if not told or not told.get("constant") or len(told["shuffled"]) < 2:
        return
    dealt = mean(one["train"] for one in told["shuffled"])
    yield "EASIER", 1 - told["real"]["train"] / dealt
    yield "CARRIES", told["real"]["held"] / told["constant"]
    yield "MOVED", dealt / told["constant"]
    gain = record.progress.gain
    if gain == gain:
        yield "GAIN", gain


def _validates(record: Record) -> bool:
    """Does validation do better than a constant answer?"""
    validation, prior = record.validation_loss(), record.progress.prior
    return bool(validation and prior and validation.lowest < CARRIES * prior)


def _finding(record: Record, told: Fact, dealt: float) -> Finding:
    return Finding(
        message=f"labels dealt out at random are as easy to learn as the true ones: after {told['real']['steps']} "
        f"steps on copies the loss is {told['real']['train']:.3g} with true labels, {dealt:.3g} with others, and on "
        f"{told['held']} samples held out {told['real']['held']:.3g} (a constant answer: {told['constant']:.3g})",
        site=site_of(record.experiments.replay.get("site")),
        evidence={
            "training loss, true labels": told["real"]["train"],
            "training loss, dealt labels": [one["train"] for one in told["shuffled"]],
            "held-out loss, true labels": told["real"]["held"],
            "held-out loss of a constant": told["constant"],
            "samples": told["samples"],
        },
        cure="look at some samples with their labels as the model gets them; inputs and labels were shuffled, sorted "
        "or filtered apart",
        confidence=0.8,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    inputs = inputs[torch.randperm(len(inputs))]
    labels = labels[torch.randperm(len(labels))]
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(4):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)  # TDX511
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    inputs = inputs[order]
    labels = labels[order]
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(4):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
