"""Gradients in float16 are so small that they lose their digits, or all of themselves.

Seen as training in half precision that stands still where that in float32 does not. Measured is the share of non-zero
gradients below 2^-14 = 6.1e-5, the least number that float16 holds with all of its eleven bits.

Hurts because below 2^-14 every halving costs a bit, and below 2^-25 a gradient becomes zero. Gradients are small where
a loss is divided by much (accumulation, a mean over many terms) or a net is deep.

Helped by torch.amp.GradScaler, which multiplies the loss before `backward()` and divides before the step, or by
bfloat16, which has the range of float32 and needs no scaler.

No fault when a scaler is in use, or in bfloat16; a few small gradients are everywhere.

Sources: P. Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740, section 3.2; PyTorch documentation,
`torch.amp`.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough

if TYPE_CHECKING:
    from torchdx.record import Fact, Record

code, family, severity = "TDX223", "gradients", "warning"
needs = frozenset({"half"})
explains = frozenset(
    {"not-learning", "learning-rate-too-low", "vanishing-gradient", "parameter-unchanged", "one-class-predictions"}
)

TINY = 0.5
"""Share of non-zero gradients below 2^-14 (all, where all are zero), in the middle one of the parameters and of the
looks. Eight healthy programs in float16 read 0.01 to 0.08; four whose loss is divided by 1,000 and more, 1.0. The
catalogue asks at 0.2."""
LEARNT = 0.5
"""Share of the loss learnt away above which it is no more than advice: Adam learns from three bits, too."""
STEPS = 30
"""Optimizer steps before which nothing can have been learnt: the examination's own bound."""
LOOKS = 3
"""Looks that must agree."""
EVEN = 0.2
"""The same share in the parameter with fewest: where gradients are lost in some layers only, they vanish on their way,
which no scale cures. Such a net read 0.0; those whose loss is divided by much, 1.0."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Every optimizer whose gradients lie below what float16 holds in full."""
    for optimizer in record.optimizers:
        looks = [fact for fact in record.process.all("half") if fact["optimizer"] == optimizer.id]
        if not looks or record.process.all("scaler"):
            continue
        if len(looks) < LOOKS:
            yield NotEnough(f"{LOOKS} looks at gradients in float16")
        elif _tiny(looks) > TINY and _least(looks) > EVEN:
            harmed = record.steps >= STEPS and not record.progress.gain > LEARNT
            yield Finding(
                message=f"{_tiny(looks):.0%} of the gradients (median of the parameters) are below 6.1e-05, where "
                "float16 loses digits, and nothing scales the loss"
                + (f"; after {record.steps} steps it is {record.progress.last:.3g}" if harmed else ""),
                site=optimizer.site,
                evidence={
                    "share of gradients below 2^-14": [_middle(look) for look in looks],
                    "largest gradient": max(row[2] for look in looks for row in look["params"].values()),
                },
                cure="scale the loss with torch.amp.GradScaler, or use bfloat16",
                confidence=0.85,
                severity=None if harmed else "note",
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for optimizer in record.optimizers:
        looks = [fact for fact in record.process.all("half") if fact["optimizer"] == optimizer.id]
        if looks and not record.process.all("scaler"):
            yield "LOOKS", len(looks)
            yield "TINY", _tiny(looks)
            yield "EVEN", _least(looks)
            yield "LEARNT", record.progress.gain


def _middle(look: Fact) -> float:
    return float(median(row[0] for row in look["params"].values()))


def _tiny(looks: list[Fact]) -> float:
    return median(_middle(look) for look in looks)


def _least(looks: list[Fact]) -> float:
    """Of the parameter that keeps the most; one without any gradient left tells nothing."""
    return median(min((row[0] for row in look["params"].values() if row[1] > 0), default=1.0) for look in looks)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=3e5)  # TDX223
    for _ in range(5):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows], reduction="sum") / 2**28
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3g}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows], reduction="sum") / 64
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3g}")
