"""The steps are so small beside the weights that training does not get anywhere.

Seen as a loss that falls by a hair in every epoch, or not visibly at all. The learning rate is not judged by its number
but by what it does: measured is the RMS of a step over the RMS of the weights it changes, in every weight matrix.

Hurts because after t steps a weight has moved by at most t times the step, and by sqrt(t) times it where gradients are
mostly noise: at a ratio of 1e-5, a thousand steps change it by one per cent at best.

Helped by a higher learning rate (find it by a range test), momentum, or Adam in place of plain SGD.

No fault when the loss is well below where it began, when the rate is still being warmed up, when gradients themselves
have faded (another fault, which a higher rate does not cure), or in the last touches of fine-tuning. A loss without a
sign, as of a game or an agent, says nothing of this: there only weights that began at random and have not moved count.

Sources: L. N. Smith, arXiv 1506.01186; H. Ben Braiek and F. Khomh, "TheDeepChecker" (2023); A. Karpathy, CS231n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix, NotEnough
from torchdx.record.series import Series
from torchdx.rules.schedules import rounded_rate, with_rate

if TYPE_CHECKING:
    from torchdx.record import Movement, Record
    from torchdx.source import Program

code, family, severity = "TDX702", "schedules", "warning"
needs = frozenset({"gradients", "step"})
explains = frozenset(
    {
        *("not-learning", "parameter-unchanged", "one-class-predictions", "batchnorm-barely-updated"),
        *("vanishing-gradient", "saddle-point", "stuck-at-minimum"),
    }
)

SMALL = 1e-4
"""Step over weight that nine looks in ten stay below. Healthy medians are 0.006 and more (18 of the zoo), 15 sick ones'
at most 3.5e-5; the bound is also TheDeepChecker's."""
LARGEST = 3e-4
"""And the weight matrix that moves most stays below. Sick: at most 1e-4; nets whose gradients vanish: 3e-3 and more, as
their last layers do move."""
TRAVEL = 0.05
"""Ratio times steps: the most that weights can have moved, as a share of their size. Healthy runs: 0.13 and more."""
SLOW, SLOWEST, SHORT, LITTLE = 5e-4, 1e-3, 0.15, 0.35
"""The same four numbers for a rate that is low, but not absurdly so, of weights that began at random: the usual ratio,
the largest, the way, and the share learnt. Healthy programs that learnt less than LITTLE: ratios of 4e-3 and more, and
a way of 0.5 and more. Of 18 programs at a hundredth of their rate, 14 read less in all of them."""
STILL = 0.03
"""The same where the loss has no sign, or fell all the same, as that of an agent does when it meets other states.
Healthy games, agents and likelihoods: 10 and more (8 programs), but for one fine-tuned, 1e-3; six sick: 1e-4 to 0.02.
Healthy programs of all kinds: 0.19 and more (194)."""
GAIN = 0.2
"""Share of the loss learnt away. Of 15 sick runs the best reached 0.12, by the noise of small batches."""
ALIVE = 0.05
"""Pull (see exploding-gradient) below which the gradient has faded. Healthy medians with a scale are 0.11 and more."""
FADED = 1e-3
"""Weakest gradient over strongest; Adam steps as far with a weak one. In order 0.01 and more, vanishing to 1e-5."""
STEPS = 30
"""Optimizer steps before which nothing can have been learnt: the examination's own bound."""
ROUNDED, ARRIVES = 1e-6, 0.01
"""Step over weight that float32 does not round away, and the share of what the rate alone would make of it (times the
gradient, but for Adam and its like) below which it is lost on the way: see parameter-unchanged."""
WHOLE = 100
"""Steps from which a run that ended by itself is no trial of a few steps."""
TUNED = 0.9
"""Share of the loss of knowing nothing below which a model of loaded weights begins: it is being fine-tuned."""
EPS = 0.1
"""Gradient over eps below which it is eps, and not the rate, that makes a step of Adam and its like small."""
AIM = 3e-3
"""The step over weight to aim at: the low end of the healthy zoo."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Every optimizer whose steps are tiny in all of its weights, in a run that got nowhere."""
    told = set()
    for movement in record.movements:
        tiny = _is_tiny(record, movement) and not _got_somewhere(record, movement)
        if not record.progress.finite or not (tiny or _is_slow(record, movement)):
            continue
        if record.steps < STEPS or _warms_up(record):
            yield NotEnough(f"{STEPS} optimizer steps at the full learning rate")
        elif movement.optimizer.option("lr") and _has_gradients(record, movement) and not _is_tuned(record, movement):
            if str(movement.optimizer.site) not in told:  # else one made anew at the same place, as for every fold
                yield _finding(record, movement)
            told.add(str(movement.optimizer.site))


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    moved = [movement for movement in record.movements if movement.ratio]
    if moved:
        yield "SMALL", min(movement.ratio.median for movement in moved)
        yield "LARGEST", min(_largest(movement) for movement in moved)
        yield "TRAVEL", min(_travel(record, movement) for movement in moved)
        signless = [_travel(record, movement) for movement in moved if _gain(record, movement) is None]
        if signless:
            yield "STILL", min(signless)
        spreads = [movement.spread.median for movement in moved if not movement.optimizer.is_scale_free]
        if spreads:
            yield "FADED", min(spreads)
        if record.progress.prior:
            yield "ALIVE", min(_pull(movement) for movement in moved)
        gains = [gain for movement in moved if (gain := _gain(record, movement)) is not None]
        if gains:
            yield "GAIN", min(gains)


def _largest(movement: Movement) -> float:
    """Step over weight of the matrix that moves most."""
    return max(weight.update_ratio.median for weight in movement.weights)


def _is_tiny(record: Record, movement: Movement) -> bool:
    ratio = movement.ratio
    if not ratio:
        return False
    few = ratio.share(above=SMALL) <= 0.1 and _largest(movement) < LARGEST and _arrives(movement)
    blank = all(w.update.median * w.inputs**0.5 * record.steps < TRAVEL for w in movement.blank)
    return few and blank and _travel(record, movement) < TRAVEL


def _is_slow(record: Record, movement: Movement) -> bool:
    """Are the steps small for weights that began at random, in a run of some length that learnt little?"""
    ratio, gain = movement.ratio, _gain(record, movement)
    if not ratio or gain is None or not gain < LITTLE or len(record.optimizers) > 1 or record.steps < WHOLE:
        return False
    few = ratio.median < SLOW and _largest(movement) < SLOWEST and _travel(record, movement) < SHORT
    blank = all(w.update.median * w.inputs**0.5 * record.steps < SHORT for w in movement.blank)
    return few and blank and _arrives(movement) and _began_at_random(record, movement)


def _arrives(movement: Movement) -> bool:
    """Are the steps as small as the rate makes them, not rounded away, or taken elsewhere?"""
    rate, free = movement.optimizer.option("lr") or 0.0, movement.optimizer.is_scale_free
    sizes = [(weight.gradient.median, weight.value.median) for weight in movement.weights]
    eps = movement.optimizer.option("eps") or 0.0  # what Adam adds to the gradient's size before it divides by that
    meant = median(
        rate * (_kept(gradient, eps) if free else gradient) / value for gradient, value in sizes if value > 0
    )
    return not (meant > ROUNDED and movement.ratio.median < ARRIVES * meant)


def _kept(gradient: float, eps: float) -> float:
    """What is left of a step that is divided by the gradient's size and eps."""
    return gradient / (gradient + eps) if gradient + eps > 0 else 1.0


def _travel(record: Record, movement: Movement) -> float:
    """The way of all steps, at the mean rate: where it rises late, most of the looks may have seen less of it."""
    steps = (fact for fact in record.process.all("step") if fact.get("optimizer") == movement.optimizer.id)
    rates = Series.of((fact["n"], fact.get("lr")) for fact in steps).finite
    looked = [rate for step, rate in rates if step in movement.ratio.steps]
    more = rates.mean / median(looked) if looked and median(looked) > 0 else 1.0
    return movement.ratio.median * record.steps * max(1.0, more)


def _got_somewhere(record: Record, movement: Movement) -> bool:
    gain = _gain(record, movement)
    if gain is not None and gain < GAIN:
        return False
    return not (_travel(record, movement) < STILL and _began_at_random(record, movement))


def _gain(record: Record, movement: Movement) -> float | None:
    """Share of the loss learnt away, the optimizer's own loss where there are several; None if the loss has no sign."""
    progress, own = record.progress, movement.own.finite
    first, last = progress.first, progress.last
    if len(record.optimizers) > 1:
        first, last = own.earliest(5).mean, own.latest(10).mean
    if not (first > 0 and last > 0):
        return None
    fall = 1 - last / first
    return fall if len(record.optimizers) > 1 or not progress.prior else max(fall, progress.gain)


def _began_at_random(record: Record, movement: Movement) -> bool:
    """Are most of the elements of weights certainly not trained ones, or too few to be, and no other optimizer's?"""
    others = [one.parameter_ids for one in record.optimizers if one.id != movement.optimizer.id]
    shared = frozenset().union(*others)
    random = [w for w in movement.weights if w.is_fresh or not w.tells_its_start]
    fresh = [w for w in random if not w.loaded and w.id not in shared]
    return 2 * sum(math.prod(w.shape) for w in fresh) > sum(math.prod(w.shape) for w in movement.weights)


def _is_tuned(record: Record, movement: Movement) -> bool:
    """Were the weights loaded, and is the loss good from the start, or without a scale?"""
    prior = record.progress.prior
    loaded = sum(weight.loaded for weight in movement.weights)
    return 2 * loaded > len(movement.weights) and not (prior and record.progress.first > TUNED * prior)


def _warms_up(record: Record) -> bool:
    """Was the rate still rising when the run was cut off? One that ended in its warm-up had no higher rate to come."""
    rates, ended = record.learning_rate, record.ended
    over = bool(ended) and not ended.get("stopped") and not ended.get("exception") and record.steps >= WHOLE
    rising = rates.last > 2 * rates.first and rates.between(0, int(0.9 * record.steps)).highest < 0.98 * rates.highest
    return rising and not over


def _has_gradients(record: Record, movement: Movement) -> bool:
    faded = bool(record.progress.prior) and _pull(movement) < ALIVE
    return not faded and (movement.optimizer.is_scale_free or not movement.spread.median < FADED)


def _pull(movement: Movement) -> float:
    """The pull of the weights, or of those that start at zero if that is stronger, as in low-rank adaption."""
    return max(pull.median for pull in (movement.pull, movement.prospect) if pull) if movement.pull else 0.0


def _finding(record: Record, movement: Movement) -> Finding:
    ratio, rate = movement.ratio, movement.optimizer.option("lr")
    eps = movement.optimizer.option("eps") or 0.0
    drowned = movement.optimizer.is_scale_free and eps > median(w.gradient.median for w in movement.weights) / EPS
    aim = rounded_rate(rate * AIM / max(ratio.median, 1e-8))
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
        cure=f"lower eps from {eps:g} to 1e-8: the gradients are small beside it"
        if drowned
        else f"raise the learning rate from {rate:g} to about {aim:g}; a range test tells how far it can go",
        confidence=0.9 if ratio.median < SMALL / 3 else 0.8 if _is_tiny(record, movement) else 0.7,
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


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs, targets = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    policy = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    for rows in [part for _ in range(4) for part in torch.randperm(len(inputs)).split(64)]:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(policy(inputs[rows]), targets[rows])
        loss.backward()
        optimizer.step()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-6)
    for _ in range(60):
        rows = torch.randint(len(inputs), (32,))
        choices = torch.distributions.Categorical(logits=policy(inputs[rows]))
        actions = choices.sample()
        rewards = (actions == targets[rows]).float()
        optimizer.zero_grad()
        loss = -(choices.log_prob(actions) * (rewards - rewards.mean())).mean()
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")
