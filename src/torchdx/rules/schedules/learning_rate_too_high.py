"""The steps are too large for the weights they change, and the loss pays for it.

Seen as a loss that jumps up in the first steps, goes to infinity, or stays at what a model that sees no inputs reaches.
The learning rate is not judged by its number, which means nothing by itself, but by what it does: measured is the RMS
of a step over the RMS of the weights it changes, the median over the weight matrices.

Hurts because a step of gradient descent of length lr overshoots any direction of curvature above 2 / lr; the next
gradient is larger, and the next step too. Adam's steps are about lr an element whatever the gradient is, so weights of
size 0.05 are overwritten by lr = 0.1; ReLU units thrown far off their data die, and the loss stays flat ever after.

Helped by a lower learning rate, warming it up, and clipping the gradient norm.

A loss without a scale, as of a game or an agent, says little: there a step is judged that overwrites the weights as
they began, and adds more to a layer's outputs than its inputs are.

No fault when large steps come with a falling loss, as early in training, with L-BFGS, or in a model that divides by its
weights' size; when weights begin near zero, or have far to go, as in a linear model of large targets; or when the model
was out of order before the first step (inputs of another scale, too large initial weights), as a lower rate would only
hide that.

Sources: L. N. Smith, arXiv 1506.01186; J. Cohen et al., arXiv 2103.00065; update ratios: A. Karpathy, CS231n, and
H. Ben Braiek and F. Khomh, "TheDeepChecker" (2023).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.rules.schedules import climb, leap, nine_in_ten, rose_before_overflow, rounded_rate, with_rate

if TYPE_CHECKING:
    from torchdx.record import Movement, Record, Series
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
        "one-class-predictions",
        "class-never-right",
        "train-eval-gap",
        "exhausted-parameters",
        "posterior-collapse",
        "parameter-unchanged",
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
STEPS = 30
"""Optimizer steps before which nothing can have been learnt: the examination's own bound."""
JUMP, FAIR = 3.0, 0.9
"""The early loss rose to this many times the first; or to two thirds of that, in a run that learnt less than FAIR.
Healthy losses with a scale never rise above 1.26 times their first value."""
LEARNT = 0.75
"""Share of the loss of knowing nothing below which a batch's loss had fallen before it leapt to JUMP times that loss,
in a run that ends where it began; no run that learns ends there, so that other causes of forgetting speak first."""
CLIMBED, BACK = 2.5, 0.5
"""A loss of one optimizer that had fallen climbed to this many times its lowest, and to this share of the first, while
steps are LARGE at the median look. Healthy: 1.1 at such steps, 2.2 at less; a rate warmed up to 0.8 under Adam: 2.9."""
OVERWRITES, STRIDE = 3.0, 1.0
"""Step over weight, and step times the root of a weight's inputs, at one of the first three looks: the weights as they
began are gone. Healthy: 2.2 and 1.0 at most, 0.4 and 0.3 as a rule (90 programs), but for weights that begin near zero
(210 and 0.9), linear models (200 and 160, and losses that come back) and a net that divides by its weights' size (140
and 80), whose losses do not rise; 59 sick ones: 3.4 and 2.0 and more, and losses that rise fivefold and more."""
EQUALS, REACHES, STAYS = 1.0, 0.5, 0.15
"""The same where steps stay that large at the middle look, and the loss is not learnt away. Healthy programs: 0.19,
0.11 and 0.11 at most (61), but for one that learns all of its loss away (1.6, 0.98, 0.19); 7 at a hundred times their
rate: 1.1 to 2.1, 0.7 to 1.2, 0.19 to 0.9, of which four have losses that leap."""
RUNAWAY = 100.0
"""The same where steps do not stay so large, but the early loss rose to this many times the first: healthy programs
whose loss rises with steps of any size come to 16 (a net that learns its own targets, at a ratio of 0.005)."""
FAR, GROWN = 10.0, 30.0
"""The same step over weight where the loss has no sign, and how many times their size the weights have grown for good,
or one step in two overwrites them. Healthy games, agents and likelihoods: 2.2, and a growth of 11, at most (8
programs); two sick ones: 190 and a growth of 680, 1100 and every step."""
SWOLLEN = 15.0
"""The same growth where the first steps overwrote the weights and steps stay LARGE, though a loss that is positive has
not risen, and is not learnt away: it is bounded, or norms undo the weights' size. Healthy: a ratio of 1.6 and a growth
of 4.9 at most (144 programs of all kinds), 28 of 40 sick ones 4 and 17 and more."""
PULL, OFF_SCALE = 60.0, 3.0
"""Out of order from the start: see exploding-gradient; or a first loss of three times that of knowing nothing, where
healthy ones begin at 0.98 to 1.10 (catalogue, cross entropy at initialisation)."""
FLAT = 0.5
"""The same of the share of a squashing layer's outputs on its flat ends: see saturated-activation."""
AIM = 0.01
"""The step over weight to aim at: the healthy zoo's median."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every optimizer whose steps are large beside its weights, in a run that came to harm."""
    told = set()  # a program may make an optimizer anew at one place in every epoch
    for movement in record.movements:
        site = str(movement.optimizer.site)
        if site in told or "LBFGS" in movement.optimizer.cls or not _began_in_order(record, movement):
            continue
        harm = _is_large(movement) and _harm(record, movement)
        doubtful = not (record.progress.prior and record.progress.gain >= FAIR)
        harm = harm or _own_harm(movement, doubtful) or _unlearning(record)
        harm = harm or (_climbed_back(record, movement) if doubtful else "")
        if harm:
            told.add(site)
            yield _finding(record, movement, harm)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    moved = [m for m in record.movements if "LBFGS" not in m.optimizer.cls and m.ratio.finite]
    ratios = [movement.ratio for movement in moved]
    if moved:
        yield "OVERWRITES", max(_early(movement)[0] for movement in moved)
        yield "STRIDE", max(_early(movement)[1] for movement in moved)
        yield "GROWN", max((m.growth for m in moved if m.growth == m.growth), default=0.0)
        yield "SWOLLEN", max((m.growth for m in moved if m.growth == m.growth), default=0.0)
        yield "ENORMOUS", max(ratio.highest for ratio in ratios)
        yield "LARGE", max(nine_in_ten(ratio) for ratio in ratios)
        climbs = [climb(movement.own.finite, BACK) for movement in moved if movement.ratio.median > LARGE]
        yield "CLIMBED", max((highest / lowest for lowest, highest in climbs if lowest > 0), default=0.0)
        yield "TYPICAL", max(ratio.median for ratio in ratios)
    if record.progress.prior is not None or record.progress.plain:
        yield "STUCK", record.progress.gain
        yield "FAIR", record.progress.gain
        yield "JUMP", leap(record)
    prior, first = record.progress.prior, record.objective.first
    if prior and record.movements:
        yield "OFF_SCALE", first / prior
        yield "PULL", max(movement.pull.first for movement in record.movements)
    losses = [m.own.finite for m in moved if m.own.finite.first > 0]
    yield "RUNAWAY", max((_peak(loss) / loss.first for loss in losses), default=0.0)
    yield "FLAT", _flat_at_first(record)


def _is_large(movement: Movement) -> bool:
    ratio = movement.ratio
    return ratio.highest > ENORMOUS or (ratio.share(above=LARGE) >= 0.1 and ratio.median > TYPICAL)


def _began_in_order(record: Record, movement: Movement) -> bool:
    prior, first = record.progress.prior, record.objective.first
    pulled = movement.pull.first > PULL and not movement.optimizer.is_scale_free
    if pulled and (prior or movement.own.first > 0):
        return False
    return not (prior and first > OFF_SCALE * prior) and not _flat_at_first(record) > FLAT


def _flat_at_first(record: Record) -> float:
    """The share of outputs on flat ends in the worst inner layer, before any step was taken."""
    looks = [layer.series("flat") for layer in record.inner_layers("Sigmoid", "Tanh")]
    return max((flat.first for flat in looks if flat), default=0.0)


def _early(movement: Movement) -> tuple[float, float]:
    """Step over weight and stride at that of the first three looks where the weights were overwritten most."""
    strides = dict(movement.stride)
    return max(((ratio, strides.get(step, 0.0)) for step, ratio in movement.ratio.earliest(3)), default=(0.0, 0.0))


def _own_harm(movement: Movement, doubtful: bool) -> str:
    """What became of weights that the first steps overwrote, in words; empty if they were not, or to no harm."""
    ratio, stride = _early(movement)
    loss = movement.own.finite
    anew = ratio > EQUALS and stride > REACHES and movement.ratio.median > STAYS and len(movement.weights) > 1
    gone = ratio > OVERWRITES and stride > STRIDE
    highest = _peak(loss)
    ran = ratio > EQUALS and stride > REACHES and highest > RUNAWAY * loss.first > 0 and len(movement.weights) > 1
    if not (loss and (gone or ran or (anew and doubtful and loss.first > 0))):
        return ""
    if loss.first > 0:
        returns = len(movement.weights) == 1 and (len(loss) < STEPS or loss.latest(10).mean < loss.first)
        if highest > JUMP * loss.first and not returns:
            return f"its loss rises from {loss.first:.3g} to {highest:.3g} in the first steps"
        blown = gone and movement.growth > SWOLLEN and movement.ratio.median > LARGE and len(movement.weights) > 1
        if not (blown and doubtful):
            return ""
        return f"the weights end at {movement.growth:.2g} times their first size"
    if ratio > FAR and (movement.growth > GROWN or movement.ratio.median > 1):
        return f"the weights end at {movement.growth:.2g} times their first size"
    return ""


def _peak(loss: Series) -> float:
    """The highest of the early losses."""
    return loss.earliest(max(10, len(loss) // 10)).highest


def _harm(record: Record, movement: Movement) -> str:
    """What became of the loss, in words; empty if no harm was done."""
    progress = record.progress
    times = leap(record)
    if not progress.finite:
        return "the loss is not finite in the end" if rose_before_overflow(record) else ""
    if progress.prior is None and not progress.plain:
        return ""  # a loss of many terms tells no harm
    if progress.gain < STUCK and record.steps - record.latest_start >= STEPS:
        return f"the loss ends at {progress.last:.3g}, no better than without learning"
    jumped = times > JUMP or (times > JUMP * 2 / 3 and progress.gain < FAIR)
    if jumped and len(movement.weights) > 1:  # a linear model's loss is convex: it comes back
        first = record.objective.between(record.latest_start + 1, record.steps).first
        return f"the loss rises from {first:.3g} to {times * first:.3g} in the first steps"
    return ""


def _unlearning(record: Record) -> str:
    """How a loss that had fallen leapt and never came back, in words; empty if it did not, or more than one trains."""
    progress, prior = record.progress, record.progress.prior
    if not prior or len(record.movements) != 1 or not progress.gain < STUCK:
        return ""
    loss = record.objective.between(record.latest_start + 1, record.steps).finite
    highest = loss.highest
    lowest = loss.between(0, loss.steps[loss.values.index(highest)]).lowest if loss else prior
    if not (lowest < LEARNT * prior and highest > JUMP * prior):
        return ""
    return f"the loss fell to {lowest:.3g}, leapt to {highest:.3g}, and ends no better than without learning"


def _climbed_back(record: Record, movement: Movement) -> str:
    """How the loss of the one optimizer fell and climbed again as its steps grew, in words; empty if it did not."""
    lowest, highest = climb(movement.own.finite, BACK)
    only = len(record.movements) == 1 and len(movement.weights) > 1
    if not (only and movement.ratio.median > LARGE and highest > CLIMBED * lowest > 0):
        return ""
    return f"the loss fell to {lowest:.3g} and climbed back to {highest:.3g}"


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


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    for weight in (parameter for parameter in model.parameters() if parameter.dim() == 2):
        nn.init.normal_(weight, std=1e-3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(6):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
