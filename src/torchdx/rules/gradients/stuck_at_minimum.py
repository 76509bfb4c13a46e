"""Training stands still at a minimum, or on a plateau: there is no way down from where it is.

Seen as a loss that has settled at what a model that sees no inputs reaches. Measured by the deep look (`torchdx run
--deep`): the mean gradient over batches is within its standard error, and the Hessian has no negative eigenvalue worth
the name.

Hurts because neither another rate nor another optimiser leads away from here. What is at fault is what the loss surface
is made of: the data, their labels, the model or its loss.

Helped by asking whether inputs and labels belong together, whether the model can learn one small batch by heart, and
whether its units are alive.

No fault when the loss is good; then a minimum is where training is to end.

Sources: H.-Y. Lee, lectures on machine learning: when gradient is small (2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record

code, family, severity = "TDX229", "gradients", "note"
deep = True
needs = frozenset({"deep"})
explains: frozenset[str] = frozenset()
follows = frozenset({"not-learning"})
"""Whatever keeps a model from learning may well leave the weights where nothing leads down."""

GAIN = 0.1
"""Share of the loss learnt away, on the kept batches, above which training got somewhere."""
FALL = 0.03
"""Share by which a loss that still falls is surely lower in the last third of the steps than in the middle one (two
standard errors taken off: see `Progress.sure_fall`). Batches of 32
make 0.011 by chance where nothing is learnt; healthy runs that have not settled: 0.1 and more."""
NOISE = 3.0
"""Gradient over its standard error, below which it is nothing but noise: see saddle-point."""
FLAT = 0.05
"""Negative curvature over the greatest: see saddle-point. Dead units 0, saturated ones 0.02, a broadcast loss 0."""


def in_run(record: Record) -> Iterator[Finding]:
    """No gradient and no negative curvature, in a run that got nowhere."""
    point, read = record.experiments.point("final"), dict(readings(record))
    stands = read.get("GAIN", 1.0) < GAIN and read.get("FALL", 0.0) < FALL
    if point is None or not stands or read["NOISE"] > NOISE or read["FLAT"] > FLAT:
        return
    yield Finding(
        message=f"training stands at a minimum, though it has learnt nothing: the gradient ({point.gradient:.2g}) is "
        f"within its noise, and curvature goes from {point.least:.2g} to {point.greatest:.2g}",
        site=next((optimizer.site for optimizer in record.optimizers), None),
        evidence={"gradient": point.gradient, "its standard error": point.noise, "least eigenvalue": point.least},
        cure="look at the data, the labels and the model; no other rate or optimiser leads away from here",
        confidence=0.8,
    )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    point, progress = record.experiments.point("final"), record.progress
    if point is None:
        return
    yield "NOISE", point.above_noise
    yield "FLAT", max(0.0, -point.least) / point.greatest if point.greatest > 0 else 0.0
    if progress.prior and progress.prior > 0:
        yield "GAIN", 1 - point.loss / progress.prior
        yield "FALL", progress.sure_fall


def sick() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    data = load_diabetes()
    inputs = torch.tensor(data.data, dtype=torch.float32)[:, 2:4] * 20
    answers = torch.tensor(data.target, dtype=torch.float32)
    answers = (answers - answers.mean()) / answers.std()
    answers = answers[torch.randperm(len(answers))]
    loader = DataLoader(TensorDataset(inputs, answers), batch_size=64, shuffle=True)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)  # TDX229
    for _ in range(24):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(batch).squeeze(1), wanted)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    data = load_diabetes()
    inputs = torch.tensor(data.data, dtype=torch.float32)[:, 2:4] * 20
    answers = torch.tensor(data.target, dtype=torch.float32)
    answers = (answers - answers.mean()) / answers.std()
    loader = DataLoader(TensorDataset(inputs, answers), batch_size=64, shuffle=True)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(24):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(batch).squeeze(1), wanted)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
