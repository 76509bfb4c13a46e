"""The steps are too large for the weights they change, and the loss pays for it.

Seen as a loss that jumps up in the first steps, goes to infinity, or stays at what a model that sees no inputs reaches.
The learning rate is not judged by its number, which means nothing by itself, but by what it does: measured is the RMS
of a step over the RMS of the weights it changes, the median over the weight matrices.

Hurts because a step of gradient descent of length lr overshoots any direction of curvature above 2 / lr; the next
gradient is larger, and the next step too. Adam's steps are about lr an element whatever the gradient is, so weights of
size 0.05 are overwritten by lr = 0.1; ReLU units thrown far off their data die, and the loss stays flat ever after.

Helped by a lower learning rate, warming it up, and clipping the gradient norm.

No fault when large steps come with a falling loss, as early in training or with L-BFGS, or when the model was out of
order before the first step (inputs of another scale, too large initial weights), as a lower rate would only hide that.

Sources: L. N. Smith, arXiv 1506.01186; J. Cohen et al., arXiv 2103.00065; update ratios: A. Karpathy, CS231n, and
H. Ben Braiek and F. Khomh, "TheDeepChecker" (2023).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.rules.schedules import rounded_rate, with_rate

if TYPE_CHECKING:
    from torchdx.record import Movement, Record
    from torchdx.source import Program

code, family, severity = "TDX701", "schedules", "warning"
needs = frozenset({"gradients", "step"})
explains = frozenset(
    {
        "not-learning",
        "non-finite",
        "diverged",
        "exploding-gradient",
        "vanishing-gradient",
        "nonfinite-value",
        "dead-relu",
        "saturated-activation",
    }
)

LARGE, ENORMOUS = 0.1, 0.5
"""Step over weight that one look in ten exceeds, and the largest of all. Healthy programs' 0.9-quantile is at most
0.048 and their largest 0.09 (18 of the zoo; L-BFGS aside); 17 sick ones' quantile is above 0.1, or one look above 0.8.
LARGE is also TheDeepChecker's bound."""
TYPICAL = 0.03
"""What the median look exceeds where none is enormous; healthy medians are at most 0.025."""
STUCK = 0.1
"""Share of the loss learnt away below which nothing was learnt; healthy classifiers end above 0.9."""
JUMP, FAIR = 3.0, 0.9
"""The early loss rose to this many times the first; or to two thirds of that, in a run that learnt less than FAIR.
Healthy losses with a scale never rise above 1.26 times their first value."""
PULL, OFF_SCALE = 60.0, 3.0
"""Out of order from the start: see exploding-gradient; or a first loss of three times that of knowing nothing, where
healthy ones begin at 0.98 to 1.10 (catalogue, cross entropy at initialisation)."""
AIM = 0.01
"""The step over weight to aim at: the healthy zoo's median."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every optimizer whose steps are large beside its weights, in a run that came to harm."""
    harm = _harm(record)
    for movement in record.movements:
        if harm and "LBFGS" not in movement.optimizer.cls and _is_large(movement) and _began_in_order(record, movement):
            yield _finding(record, movement, harm)


def _is_large(movement: Movement) -> bool:
    ratio = movement.ratio
    return ratio.highest > ENORMOUS or (ratio.share(above=LARGE) >= 0.1 and ratio.median > TYPICAL)


def _began_in_order(record: Record, movement: Movement) -> bool:
    prior, first = record.progress.prior, record.objective.first
    return not (prior and (first > OFF_SCALE * prior or movement.pull.first > PULL))


def _harm(record: Record) -> str:
    """What became of the loss, in words; empty if no harm was done."""
    progress = record.progress
    loss = record.objective.between(record.latest_start + 1, record.steps)
    early = loss.finite.between(0, record.latest_start + max(10, (record.steps - record.latest_start) // 10)).highest
    times = early / loss.first if loss.first > 0 else 0.0
    if not progress.finite:
        return "the loss is not finite in the end"
    if progress.prior is None and not progress.plain:
        return ""  # a loss of many terms tells no harm
    if progress.gain < STUCK:
        return f"the loss ends at {progress.last:.3g}, no better than without learning"
    if times > JUMP or (times > JUMP * 2 / 3 and progress.gain < FAIR):
        return f"the loss rises from {loss.first:.3g} to {early:.3g} in the first steps"
    return ""


def _finding(record: Record, movement: Movement, harm: str) -> Finding:
    ratio, rate = movement.ratio, movement.optimizer.option("lr")
    usual = max(ratio.first, ratio.earliest(3).median, min(ratio.median, LARGE))  # later ones may have run away
    aim = rounded_rate(rate * min(AIM / usual, 1 / 3))
    peak = record.learning_rate.highest
    lower = f"the schedule's highest rate, {peak:g}" if peak > 2 * rate else f"lr from {rate:g} to {aim:g}"
    return Finding(
        message=f"a step of {movement.optimizer.cls} changes the weights by up to {ratio.highest:.2g} times their "
        f"size (healthy: about {AIM}), and {harm}",
        site=movement.optimizer.site,
        evidence={
            "lr": rate,
            "proposed lr": aim,
            "step over weight, median": ratio.median,
            "step over weight": list(ratio.thinned(50).values),
        },
        cure=f"lower {lower}, or so",
        confidence=0.9 if ratio.highest > ENORMOUS else 0.8,
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Write the proposed rate where the optimizer's rate is written."""
    fix = with_rate(program, finding, f"lower the learning rate to {finding.evidence['proposed lr']:g}")
    if fix is not None:
        yield fix


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2.0)  # TDX701
    for _ in range(10):
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
    model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(10):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
