"""The steps are longer than the loss surface is smooth: the learning rate is above what its curvature allows.

Seen as a loss that grows from step to step, or bounces and never settles. Measured by the deep look (`torchdx run
--deep`): the greatest eigenvalue of the Hessian, at first and in the end, against 2 / lr of plain gradient descent, or
2 (1 + momentum) / lr. It is not a critical point that training stands at: the gradient is large.

Hurts because along a direction of curvature h a step multiplies the distance from the lowest point by 1 - lr h. Above
lr h = 2 that is more than 1 in size: every step ends higher on the opposite slope.

Helped by a learning rate below the bound, warming it up, inputs of one scale, normalisation, or clipping.

No fault when the loss falls nevertheless, as it does in healthy training at the edge of stability; only runs that came
to harm are judged, and only those of plain gradient descent, as Adam measures its steps otherwise.

Sources: J. Cohen et al., arXiv 2103.00065; Y. LeCun et al., "Efficient BackProp" (1998).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough
from torchdx.rules.schedules import rounded_rate

if TYPE_CHECKING:
    from torchdx.record import Optimizer, Record

code, family, severity = "TDX227", "gradients", "warning"
deep = True
needs = frozenset({"deep", "optimizer"})
explains = frozenset(
    {
        "not-learning",
        "diverged",
        "non-finite",
        "nonfinite-value",
        "exploding-gradient",
        "learning-rate-too-high",
    }
)

STEEP = 1.0
"""Greatest eigenvalue, less its error, over what the rate allows. Healthy programs end at 0.01 to 0.8, but begin as
high as 6.6, and recover; linear models above 1 must diverge."""
DIVERGED = 2.0
"""A loss this many times its best, in the end, has come to harm: the examination's own bound."""
GAIN = 0.1
"""Share of the loss learnt away below which nothing was learnt."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Curvature beyond the rate's bound, in a run that came to harm."""
    optimizer = _descent(record)
    if optimizer is None:
        return
    read = dict(readings(record))
    if "STEEP" not in read:
        yield NotEnough(record.experiments.why_not("critical"))
        return
    if read["STEEP"] <= STEEP or not _came_to_harm(record, read):
        return
    rate = float(optimizer.option("lr"))
    aim = rounded_rate(rate / read["STEEP"] / 2)
    yield Finding(
        message=f"the loss is bent {read['STEEP']:.2g} times as much as a learning rate of {rate:g} can follow: its "
        f"greatest curvature is {read['STEEP'] * _bound(optimizer):.3g}, and steps overshoot above "
        f"{_bound(optimizer):.3g}",
        site=optimizer.site,
        evidence={
            "lr": rate,
            "proposed lr": aim,
            "greatest eigenvalue": read["STEEP"] * _bound(optimizer),
            "2 (1 + momentum) / lr": _bound(optimizer),
            "training loss": list(record.objective.finite.thinned(50).values),
        },
        cure=f"lower the learning rate from {rate:g} to about {aim:g}",
        confidence=0.9,
    )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    optimizer = _descent(record)
    points = [point for state in ("initial", "final") if (point := record.experiments.point(state)) is not None]
    if optimizer is not None and points:
        yield "STEEP", max(point.greatest - point.greatest_error for point in points) / _bound(optimizer)
    progress = record.progress
    if progress.best > 0:
        yield "DIVERGED", progress.last / progress.best
    if progress.gain == progress.gain:
        yield "GAIN", progress.gain


def _descent(record: Record) -> Optimizer | None:
    """The only optimizer, if it is plain gradient descent on the very loss whose curvature was measured."""
    scale = record.experiments.replay.get("scale")
    if len(record.optimizers) != 1 or scale is None or abs(scale - 1) > 1e-3:
        return None
    optimizer = record.optimizers[0]
    plain = optimizer.cls == "SGD" and len(optimizer.groups) == 1 and optimizer.option("lr")
    clipped = any(fact.get("clip") for fact in record.process.all("step"))
    return optimizer if plain and not clipped else None


def _bound(optimizer: Optimizer) -> float:
    return 2 * (1 + float(optimizer.option("momentum") or 0)) / float(optimizer.option("lr"))


def _came_to_harm(record: Record, read: dict[str, float]) -> bool:
    progress = record.progress
    worse = read.get("DIVERGED", 0.0) > DIVERGED and progress.last > progress.first
    nothing = progress.prior is not None and read.get("GAIN", 1.0) < GAIN and progress.last > progress.first
    return not progress.finite or worse or nothing


def sick() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    data = load_diabetes()
    inputs = torch.tensor(data.data, dtype=torch.float32) * 20
    answers = torch.tensor(data.target, dtype=torch.float32)
    answers = (answers - answers.mean()) / answers.std()
    loader = DataLoader(TensorDataset(inputs, answers), batch_size=32, shuffle=True)
    model = nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.31)  # TDX227
    for _ in range(10):
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
    inputs = torch.tensor(data.data, dtype=torch.float32) * 20
    answers = torch.tensor(data.target, dtype=torch.float32)
    answers = (answers - answers.mean()) / answers.std()
    loader = DataLoader(TensorDataset(inputs, answers), batch_size=32, shuffle=True)
    model = nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    for _ in range(10):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(batch).squeeze(1), wanted)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    """Curvature is above the bound at first, and training settles where it is not."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(5):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
