"""The variance that a Gaussian likelihood is given lies far below the squared errors that it stands for.

Seen as a negative log likelihood that is huge, jumps about, and hardly falls; error bars that the truth nearly always
lies outside of. Measured is the mean of (x - mu)² / sigma² over the batches of the second half of training, which is 1
where the variance is that of the errors, and the share of variances at or below the loss's `eps`.

Hurts because the loss is (log sigma² + (x - mu)² / sigma²) / 2: its slope by mu is the error over sigma², so that a
variance near 0 makes steps of any size, mostly for those samples that are called sure; and below `eps` the loss
replaces the variance, so that what the model says of it no longer matters. A ReLU before it cannot come back from 0.

Helped by giving the logarithm and taking `exp`, or by `softplus` with a small constant added; the variance's own path
must carry a gradient; targets scaled to deviation 1; a few epochs on the mean alone before.

No fault when targets are without noise and the variance shrinks with the errors, as their ratio then stays 1; when the
variance is a constant that somebody chose; nor on new data, where it is overfitting.

Sources: D. Nix and A. Weigend, "Estimating the mean and variance of the target probability distribution" (1994);
M. Seitzer et al., arXiv 2203.09168; PyTorch documentation, `torch.nn.GaussianNLLLoss`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough

if TYPE_CHECKING:
    from torchdx.record import Answers, Record

code, family, severity = "TDX619", "loss", "warning"
needs = frozenset({"answers"})
explains = frozenset(
    {"not-learning", "diverged", "exploding-gradient", "learning-rate-too-high", "clipped-nearly-always"}
)

FAR = 4.0
"""Squared errors over the variance, in each batch of the second half, from which it is far below them. The least batch
of healthy programs reads 0.25 to 1.1, with heavy-tailed errors, too (11 of them); of sick ones 3.5 to 26,000 (7), so
that the mildest goes untold. The
catalogue's band of four standard errors (row 82) would miss a ReLU, whose errors have no mean to speak of."""

ENOUGH_STEPS, BATCHES, TERMS = 30, 3, 48
"""Steps of training, batches of its second half, and errors in them, before it is judged."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Every Gaussian likelihood whose variance stays far below the squared errors."""
    trained = record.steps - record.latest_start
    groups = [group for group in record.answers if group.phase == "train" and "squares" in group.told[0]]
    if groups and trained < ENOUGH_STEPS:
        yield NotEnough(needs=f"at least {ENOUGH_STEPS} steps")
        return
    for group in groups:
        late = group.since(record.latest_start + trained // 2)
        if _suffices(late) and not _is_chosen(record, group) and _lowest(late) > FAR:
            yield _finding(late)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    trained = record.steps - record.latest_start
    for group in record.answers:
        late = group.since(record.latest_start + trained // 2)
        if "squares" in group.told[0] and group.phase == "train" and _suffices(late):
            yield "FAR", _lowest(late)


def _suffices(late: Answers) -> bool:
    return len(late.told) >= BATCHES and sum(fact["terms"] for fact in late.told) >= TERMS


def _lowest(late: Answers) -> float:
    """The least of the batches' ratios; NaN if one is not finite."""
    ratios = [fact["squares"] for fact in late.told]
    return min(ratios) if all(map(math.isfinite, ratios)) else math.nan


def _is_chosen(record: Record, group: Answers) -> bool:
    """Is the variance one constant, the same at all looks?"""
    uses = [use for use in record.losses_called(group.function) if use.site == group.site]
    given = [look["variance"] for use in uses for look in use.calls() if look.get("variance")]
    return bool(given) and all(one.get("std", 1.0) == 0 for one in given) and len({one["mean"] for one in given}) == 1


def _finding(late: Answers) -> Finding:
    floor = fmean(fact["floor"] for fact in late.told)
    ratio = fmean(fact["squares"] for fact in late.told)
    at_floor = f"; {floor:.0%} of the variances are at the loss's eps, or below" if floor > 0.05 else ""
    return Finding(
        message=f"late in training the squared errors are {ratio:.3g} times the variance that the likelihood is given"
        f"{at_floor}",
        site=late.site,
        evidence={
            "squared error over variance": ratio,
            "least of a batch": _lowest(late),
            "share of variances at or below eps": floor,
            "steps": [fact["step"] for fact in late.told],
            "squared error over variance, by batch": [fact["squares"] for fact in late.told],
        },
        cure="let the model give the logarithm of the variance and take exp, or softplus with a small constant added, "
        "and let the gradient through it",
        confidence=0.9,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(3)
    data, progression = load_diabetes(return_X_y=True)
    inputs = torch.tensor(data / data.std(0), dtype=torch.float32)
    targets = torch.tensor((progression - progression.mean()) / progression.std(), dtype=torch.float32)
    body = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(body.parameters(), lr=0.003)
    for _ in range(40):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            mean, spread = body(inputs[rows]).unbind(1)
            loss = F.gaussian_nll_loss(mean, targets[rows], spread.relu())  # TDX619
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(3)
    data, progression = load_diabetes(return_X_y=True)
    inputs = torch.tensor(data / data.std(0), dtype=torch.float32)
    targets = torch.tensor((progression - progression.mean()) / progression.std(), dtype=torch.float32)
    body = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(body.parameters(), lr=0.003)
    for _ in range(40):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            mean, spread = body(inputs[rows]).unbind(1)
            loss = F.gaussian_nll_loss(mean, targets[rows], F.softplus(spread) + 1e-3)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(3)
    data, progression = load_diabetes(return_X_y=True)
    inputs = torch.tensor(data / data.std(0), dtype=torch.float32)
    targets = torch.tensor((progression - progression.mean()) / progression.std(), dtype=torch.float32)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    loss_of = nn.GaussianNLLLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(40):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            known = torch.full((len(rows), 1), 0.05)  # the error of the instrument, as its maker states it
            loss = loss_of(model(inputs[rows]), targets[rows, None], known)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
