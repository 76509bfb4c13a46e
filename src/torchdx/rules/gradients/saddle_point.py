"""Training stands still at a saddle point: the gradient is nothing but noise, and the loss bends down beside it.

Seen as a loss that stays where it began, with gradients near zero. Measured by the deep look (`torchdx run --deep`) on
the weights in the end: the mean gradient over batches against its standard error, and the extreme eigenvalues of the
Hessian. That data and model are in order is measured, too: a copy learns them from the same start with Adam.

Hurts because where the gradient is zero nothing drives the weights, though the loss falls in the direction of negative
curvature. With eigenvalue -h, the distance from the saddle grows by 1 + lr h a step, so that with a small rate leaving
takes about log(1 / distance) / (lr h) steps. All weights near zero is the saddle that people build.

Helped by initial weights of the usual size (`nn.init.kaiming_normal_`), Adam, which scales small gradients up,
momentum, or a higher rate.

No fault when the loss is good or still falls, or when there is nothing to be learnt.

Sources: Y. Dauphin et al., arXiv 1406.2572; H.-Y. Lee, lectures on machine learning: when gradient is small (2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough

if TYPE_CHECKING:
    from torchdx.record import Record

code, family, severity = "TDX226", "gradients", "warning"
deep = True
needs = frozenset({"deep"})
explains = frozenset({"not-learning", "vanishing-gradient", "learning-rate-too-low", "one-class-predictions"})

GAIN = 0.1
"""Share of the loss learnt away, on the kept batches, above which training does not stand still; runs at saddles
(3): below 0."""
FALL = 0.03
"""Share by which a loss that still falls is surely lower in the last third of the steps than in the middle one (two
standard errors taken off: see `Progress.sure_fall`). Batches of 32
make 0.011 by chance where nothing is learnt; healthy runs that have not settled: 0.1 and more."""
NOISE = 3.0
"""Gradient over its standard error, below which it is nothing but noise. At three saddles 0.73 to 0.8; runs that have
learnt end at 0.4 to 7, too, so that it counts only where nothing was learnt."""
BENT = 0.1
"""Negative curvature over the greatest, that which is sure. At three saddles 0.37 to 0.75, at five plateaus 0 to 0.02;
runs that have learnt end at 0 to 0.9, too."""
LEARNABLE = 0.9
"""Loss on samples held out that a copy reached with Adam from the same start, over that of a constant answer: below it
there is something to be learnt, and the model can. At three saddles 0.38 to 0.49; healthy programs 0.01 to
0.82, but 1.2 for linear regressions, which a copy does not learn in 100 steps; shuffled labels 1.0 and 1.1."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """A point without a gradient and with negative curvature, in a run that got nowhere and might have."""
    point = record.experiments.point("final")
    if point is None:
        yield NotEnough(record.experiments.why_not("critical"))
        return
    read = dict(readings(record))
    stands = read.get("GAIN", 1.0) < GAIN and read.get("FALL", 0.0) < FALL
    if not stands or read["NOISE"] > NOISE or read["BENT"] < BENT or read.get("LEARNABLE", 1.0) > LEARNABLE:
        return
    yield Finding(
        message=f"training stands at a saddle point: the gradient ({point.gradient:.2g}) is within its noise, and "
        f"curvature goes from {point.least:.2g} to {point.greatest:.2g}; from the same start Adam learns it",
        site=next((optimizer.site for optimizer in record.optimizers), None),
        evidence={
            "gradient": point.gradient,
            "its standard error": point.noise,
            "least eigenvalue": point.least,
            "greatest eigenvalue": point.greatest,
            "training loss": list(record.objective.finite.thinned(50).values),
        },
        cure="begin with weights of the usual size, or use Adam, which scales small gradients up",
        confidence=0.85,
    )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    point, progress = record.experiments.point("final"), record.progress
    if point is None:
        return
    yield "NOISE", point.above_noise
    yield "BENT", point.bent_down
    told = record.experiments.result("baselines")
    if told.get("constant"):
        yield "LEARNABLE", told["real"]["held"] / told["constant"]
    if progress.prior and progress.prior > 0:
        yield "GAIN", 1 - point.loss / progress.prior
        yield "FALL", progress.sure_fall


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=4e-3)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002)  # TDX226
    for _ in range(6):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
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
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(
        *(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()),
        *(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)),
    )
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
