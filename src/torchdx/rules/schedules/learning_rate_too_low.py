"""The steps are so small beside the weights that training does not get anywhere.

Seen as a loss that falls by a hair in every epoch, or not visibly at all. The learning rate is not judged by its number
but by what it does: measured is the RMS of a step over the RMS of the weights it changes, in every weight matrix.

Hurts because after t steps a weight has moved by at most t times the step, and by sqrt(t) times it where gradients are
mostly noise: at a ratio of 1e-5, a thousand steps change it by one per cent at best.

Helped by a higher learning rate (find it by a range test), momentum, or Adam in place of plain SGD.

No fault when the loss is well below where it began, when the rate is still being warmed up, when gradients themselves
have faded (another fault, which a higher rate does not cure), or in the last touches of fine-tuning.

Sources: L. N. Smith, arXiv 1506.01186; H. Ben Braiek and F. Khomh, "TheDeepChecker" (2023); A. Karpathy, CS231n.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix, NotEnough
from torchdx.rules.schedules import rounded_rate, with_rate

if TYPE_CHECKING:
    from torchdx.record import Movement, Record
    from torchdx.source import Program

code, family, severity = "TDX702", "schedules", "warning"
needs = frozenset({"gradients", "step"})
explains = frozenset({"not-learning"})

SMALL = 1e-4
"""Step over weight that nine looks in ten stay below. Healthy medians are 0.006 and more (18 of the zoo), 15 sick ones'
at most 3.5e-5; the bound is also TheDeepChecker's."""
LARGEST = 3e-4
"""And the weight matrix that moves most stays below. Sick: at most 1e-4; nets whose gradients vanish: 3e-3 and more, as
their last layers do move."""
TRAVEL = 0.05
"""Ratio times steps: the most that weights can have moved, as a share of their size. Healthy runs: 0.13 and more."""
GAIN = 0.2
"""Share of the loss learnt away. Of 15 sick runs the best reached 0.12, by the noise of small batches."""
ALIVE = 0.05
"""Pull (see exploding-gradient) below which the gradient has faded. Healthy medians with a scale are 0.11 and more."""
FADED = 1e-2
"""Weakest gradient over strongest: see vanishing-gradient."""
STEPS = 30
"""Optimizer steps before which nothing can have been learnt: the examination's own bound."""
AIM = 3e-3
"""The step over weight to aim at: the low end of the healthy zoo."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Every optimizer whose steps are tiny in all of its weights, in a run that got nowhere."""
    for movement in record.movements:
        if not _is_tiny(record, movement) or not record.progress.finite or _got_somewhere(record):
            continue
        if record.steps < STEPS or _warms_up(record):
            yield NotEnough(f"{STEPS} optimizer steps at the full learning rate")
        elif movement.optimizer.option("lr") and _has_gradients(record, movement):
            yield _finding(record, movement)


def _is_tiny(record: Record, movement: Movement) -> bool:
    largest = max(weight.update_ratio.median for weight in movement.weights)
    ratio = movement.ratio
    few = ratio.share(above=SMALL) <= 0.1 and largest < LARGEST
    return bool(ratio) and few and ratio.median * record.steps < TRAVEL


def _got_somewhere(record: Record) -> bool:
    progress = record.progress
    return not (progress.gain < GAIN and progress.first > 0 and 1 - progress.last / progress.first < GAIN)


def _warms_up(record: Record) -> bool:
    rates = record.learning_rate
    return rates.last > 2 * rates.first and rates.last == rates.highest


def _has_gradients(record: Record, movement: Movement) -> bool:
    faded = bool(record.progress.prior) and movement.pull.median < ALIVE
    return not faded and not movement.spread.median < FADED


def _finding(record: Record, movement: Movement) -> Finding:
    ratio, rate = movement.ratio, movement.optimizer.option("lr")
    aim = rounded_rate(rate * AIM / max(ratio.median, 1e-9))
    return Finding(
        message=f"a step of {movement.optimizer.cls} changes the weights by {ratio.median:.1e} of their size (healthy: "
        f"about 1e-2), and after {record.steps} steps the loss is {record.progress.last:.3g}, having begun at "
        f"{record.progress.first:.3g}",
        site=movement.optimizer.site,
        evidence={
            "lr": rate,
            "proposed lr": aim,
            "step over weight, median": ratio.median,
            "steps": record.steps,
            "training loss": list(record.objective.finite.thinned(50).values),
        },
        cure=f"raise the learning rate from {rate:g} to about {aim:g}; a range test tells how far it can go",
        confidence=0.9 if ratio.median < SMALL / 3 else 0.8,
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Write the proposed rate where the optimizer's rate is written."""
    fix = with_rate(program, finding, f"raise the learning rate to {finding.evidence['proposed lr']:g}")
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
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-6)  # TDX702
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
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(10):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
