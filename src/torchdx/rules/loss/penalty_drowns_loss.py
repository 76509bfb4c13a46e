"""The penalty on the weights weighs so much more than the loss that the model learns to have no weights.

Seen as a total loss that falls nicely while predictions get no better, and weights that go to zero. Measured are the
parts of what `backward` is called on: terms that depend on parameters or activations alone, and the rest; and of
an optimizer's `weight_decay`, the pull towards zero beside the gradient of the loss, in every weight matrix, and what
it takes off the weights at each step.

Hurts because the gradient is that of the sum, L + lambda * |w|^2: with lambda |w|^2 far above L it points towards w = 0
whatever the data say. The sum of all squares grows with the number of weights, so that a lambda that suits a small
model, or a mean, drowns the loss of a large one.

Helped by a smaller factor (1e-4 is usual for squares), the mean in place of the sum, or the optimizer's weight_decay
(1e-4 to 5e-4 is usual, 1e-2 to 0.1 for AdamW, which multiplies it by the rate alone). So with a bonus on a policy's
entropy (0.01 is usual): what it weighs too much, the policy stays at chance.

No fault when the loss on the data falls as well, or when the term is one that a model's outputs enter (the divergence
of a variational autoencoder, an auxiliary task).

Sources: I. Goodfellow et al., "Deep Learning", section 7.1; H. Ben Braiek and F. Khomh, "TheDeepChecker" (2023), which
watches a penalty that overwhelms the loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough
from torchdx.record import site_of
from torchdx.record.penalties import Penalties

if TYPE_CHECKING:
    from torchdx.record import Movement, Optimizer, Parameter, Record

code, family, severity = "TDX615", "loss", "warning"
needs = frozenset({"step", "gradients"})
explains = frozenset(
    {
        *("not-learning", "one-class-predictions", "class-never-right", "vanishing-gradient", "exploding-gradient"),
        *("learning-rate-too-high", "learning-rate-too-low", "parameter-unchanged", "labels-unrelated"),
    }
)

DROWNS = 2.0
"""Times the loss that the penalty is, at the middle one of the looks. Of 20 digits programs, those of a usual factor
read 0.001 to 0.27 (a wide net that learns 1.2), eight that end at log C 2.3 to 108, two in between 0.8 and 1.1."""
AT_FIRST = 10.0
"""The same at the first look, where the penalty has soon had its way: 14 with L-BFGS, for 0.01 in a healthy run."""
SOON = 2.0
"""The same where the term is a penalty on activations, which goes down in a few steps: 2.75 in a sparse code that knows
nothing."""
HUGE = 30.0
"""The same at the middle look beyond which a loss that fell by less than POOR is held back by it, as below."""
GONE, EQUAL, HARDLY, LITTLE = 0.1, 1.0, 0.1, 0.3
"""The share of a penalty that is left in the end where it has had its way; times the loss that it then was at first, on
weights; and the fall of a loss below which nothing was learnt meanwhile, beside penalties on weights and on
activations. Healthy programs keep 1 and more; four sick ones 0.0007 to 0.06, of 4 to 30 times the loss, with falls of
-0.2 to 0.25."""
BLIND = 1.0
"""The penalty in the end over the loss of a model that sees no inputs: beyond it, no weights at all would be better."""
DECAYS = 0.4
"""Times the gradient of the loss (of a step of size one, with AdamW) that weight decay is, in the weight matrix where
it weighs least, at the first looks. Healthy programs: 0.14 at most, 0.03 and less as a rule; 8 that end at log C: 0.64
to 100; programs with other faults 0.29 (weights that start huge), 0.05 and less as a rule."""
FAR, POOR = 3.0, 0.5
"""The same beyond which a loss that fell by less than POOR is held back by it: the noise of batches, and what tiny
weights still learn, make up some fall. Healthy programs: 0.14 at most, and falls of 0.49 and more with a scale."""
HEAVY, HOLDS, HALFWAY = 0.1, 0.2, 0.7
"""A decay that is part of the gradient, a hundred times the usual one; the same from which it holds back a loss that
fell by less than HALFWAY. Healthy programs: 0.01 at most, 0.03; a forecast that learns half: 0.3, 0.32, 0.6."""
STRONG, COUPLED, FORGETS = 1.0, 0.03, 0.015
"""Weight decay apart from the gradient, or that of SGD, which is part of it (there 0.005 at most in healthy programs
and in those of a rate far too high, 0.2 and 1 in sick ones); and its product with the rate at its highest, over what is
left of momentum: the share that a step takes off every weight, embeddings too, so that the last fifty steps are all
that it can hold. Healthy programs (24): 0.5 and
0.006 at most; rates that are far too high reach 0.28, with decays of 0.1 at most; 9 sick ones 3 to 30 and 0.02 to 0.1,
and two that learn all the same 3, with 0.03 and 0.06."""
HELD, ENDS = 0.5, 1.0
"""A penalty over the sum of the squares of all weight matrices, 5000 times the usual factor; and over the loss in the
end, where what is left of the loss is what such weights cannot learn. Healthy programs: 0.02 at most, and 3.5; sick
ones 0.5 and more, and 1.8 to 5."""
LEARNT = 0.05
"""Share by which the data's own loss fell, from its first values to the mean of the last phase, which may be all of the
run. Drowned runs read 0.004 at most; those that learn 0.11 to 0.8."""
BONUS, SPREAD_OUT, SENSED, LARGE = 3.0, 0.9, 1e-5, 0.1
"""Times all the rest of the objective that a bonus on entropy adds, at the middle one of the looks of the second half
of training; the share of the greatest entropy that the policy then keeps; the share of the bonus that the rest is at
least, as without any reward there is nothing to drown, but the rounding of the sum, 1e-6; and the bonus over the
entropy. Healthy agents (12): 0.0002 to 0.8, 0.004 to 0.75, 1.3 and more, and 0.02 at most; sick ones (6): 31 to 2400,
0.94 and more, 0.0004 to 0.04 (the least where advantages have a mean of zero), and 1 to 15."""
STEPS = 30
"""Optimizer steps before which nothing can have been learnt: the examination's own bound."""
LOOKS = 3
"""Looks at which the parts must have been told apart."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """A penalty far above the loss it is added to, in a run whose loss on the data hardly falls."""
    yield from _added(record)
    yield from _spread_out(record)
    yield from list(_pulled(record)) or _forgotten(record)


def _pulled(record: Record) -> Iterator[Finding]:
    """Weight decay that outweighs the gradient of the loss."""
    for movement in record.movements:
        times = _decay(movement)
        decay = max((_decay_of(movement.optimizer, weight) for weight in movement.weights), default=0.0)
        heavy = not _is_apart(movement.optimizer) and decay >= HEAVY
        least = HALFWAY if heavy else POOR if times > FAR else LEARNT
        strong = times > (HOLDS if heavy else DECAYS)
        if strong and record.steps >= STEPS and record.progress.finite and _stands_still(record, least):
            yield Finding(
                message=f"weight_decay={decay:g} of {movement.optimizer.cls} pulls the weights towards zero "
                f"{times:.2g} times as strongly as the loss pulls them anywhere, and the loss stays at "
                f"{record.progress.last:.3g}",
                site=movement.optimizer.site,
                evidence={"weight_decay": decay, "over the gradient of the loss": times},
                cure=f"make weight_decay {10 ** math.ceil(math.log10(times * 10)):g} times smaller, or so",
                confidence=0.9,
            )


def _forgotten(record: Record) -> Iterator[Finding]:
    """Weight decay apart from the gradient that takes off so much that little can be held."""
    if len(record.optimizers) != 1 or record.steps < STEPS or not record.progress.finite:
        return
    optimizer = record.optimizers[0]
    decay, forgets = _forgetting(record, optimizer)
    strong = COUPLED if optimizer.cls == "SGD" else STRONG
    if decay > strong and forgets > FORGETS and _stands_still(record, POOR):
        yield Finding(
            message=f"weight_decay={decay:g} of {optimizer.cls} takes {forgets:.1%} off every weight for each step "
            f"that is taken, so that what was learnt is soon gone, and the loss stays at {record.progress.last:.3g}",
            site=optimizer.site,
            evidence={"weight_decay": decay, "share of a weight that a step takes off": forgets},
            cure=f"take a weight_decay of {'0.0001 to 0.001' if optimizer.cls == 'SGD' else '0.01 to 0.1'}",
            confidence=0.85,
        )


def _added(record: Record) -> Iterator[Finding | NotEnough]:
    """A penalty that is a term of what `backward` is called on."""
    terms = Penalties(record, record.process.all("penalty"))
    looks, active = terms.looks, terms.active
    if looks and (len(looks) < LOOKS or terms.evaluations < STEPS):
        yield NotEnough(f"{STEPS} optimizer steps, {LOOKS} of them looked at")
        return
    if not looks or (active and (len(record.optimizers) > 1 or any(look["penalty"] < 0 for look in looks))):
        return  # a part of a game, or no penalty
    fall, times = terms.fall, max(terms.middle, terms.at_first)
    if _drowns(terms):
        told = f"fell by {fall:.0%} only" if fall > 0 else "did not fall"
        if terms.factor > HELD and fall >= LEARNT:
            told = f"stays below it in the end, {terms.in_the_end:.2g} times less: small weights are what is learnt"
        elif terms.over_blind > 1 and fall >= LEARNT:
            told = f"is that of a model that knows nothing at {1 / terms.over_blind:.2g} times what the penalty ends at"
        yield Finding(
            message=f"the penalty on the {'activations' if active else 'weights'} is {times:.3g} times the "
            f"loss it is added to (at first {looks[0]['penalty']:.3g} beside {looks[0]['losses']:.3g}), and the loss "
            f"itself {told}",
            site=site_of(looks[0]["site"]),
            evidence={
                "penalty": [look["penalty"] for look in looks],
                "loss on the data": [look["losses"] for look in looks],
                "its mean in each phase": list(terms.own.thinned(50).values),
            },
            cure=f"make its factor {10 ** math.ceil(math.log10(max(times, terms.over_blind) * 10)):g} times smaller, "
            "or so",
            confidence=0.9,
        )


def _drowns(terms: Penalties) -> bool:
    """Is the penalty what is learnt from, in one of the ways that the thresholds tell?"""
    first, fall = terms.at_first, terms.fall
    above = terms.middle > DROWNS or first > (SOON if terms.active else AT_FIRST)
    if above and fall < (POOR if terms.middle > HUGE else LEARNT):
        return True
    if terms.left < GONE and first > (SOON if terms.active else EQUAL):
        return fall < (LITTLE if terms.active else HARDLY)
    return not terms.active and (terms.over_blind > BLIND or (terms.factor > HELD and terms.in_the_end > ENDS))


def _spread_out(record: Record) -> Iterator[Finding]:
    """A bonus on entropy that leaves a policy at chance."""
    read = _bonus(record)
    drowned = read.get("BONUS", 0.0) > BONUS and read["SENSED"] > SENSED and read["LARGE"] > LARGE
    if drowned and read["SPREAD_OUT"] > SPREAD_OUT and record.steps >= STEPS:
        look = record.process.last("bonus")
        yield Finding(
            message=f"the bonus on entropy is {read['BONUS']:.2g} times all the rest of the objective, and the answers "
            f"stay at chance: their entropy is {look['entropy']:.3g} of {look['most']:.3g} at most",
            site=site_of(look["site"]),
            evidence={"bonus": look["bonus"], "objective": look["objective"], "entropy": look["entropy"]},
            cure=f"make its factor {10 ** math.ceil(math.log10(max(read['BONUS'], 1) * 10)):g} times smaller, or so",
            confidence=0.9,
        )


def _bonus(record: Record) -> dict[str, float]:
    """The middle readings of the second half of training; nothing where no entropy is rewarded."""
    looks = [look for look in record.process.all("bonus") if look["step"] > record.steps / 2 and look["bonus"] < 0]
    if len(looks) < LOOKS:
        return {}
    rests = [max(abs(look["objective"] - look["bonus"]), 1e-12) for look in looks]
    return {
        "BONUS": median(-look["bonus"] / rest for look, rest in zip(looks, rests, strict=True)),
        "SENSED": median(-rest / look["bonus"] for look, rest in zip(looks, rests, strict=True)),
        "SPREAD_OUT": median(look["entropy"] / look["most"] for look in looks),
        "LARGE": median(-look["bonus"] / max(look["entropy"], 1e-12) for look in looks),
    }


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    terms = Penalties(record, record.process.all("penalty"))
    if terms.looks:
        yield "DROWNS", terms.middle
        yield "SOON" if terms.active else "AT_FIRST", terms.at_first
        yield "LEARNT", terms.fall
        yield "GONE", terms.left
        yield "BLIND", terms.over_blind
        yield from (("HELD", terms.factor), ("ENDS", terms.in_the_end))
        yield "LOOKS", len(terms.looks)
    yield from _bonus(record).items()
    if decays := [times for movement in record.movements if (times := _decay(movement)) > 0]:
        yield "DECAYS", max(decays)
        yield "FAR", max(decays)
        yield "POOR", record.progress.gain
    if len(record.optimizers) == 1 and (forgetting := _forgetting(record, record.optimizers[0]))[1] > 0:
        strong = "COUPLED" if record.optimizers[0].cls == "SGD" else "STRONG"
        yield from zip((strong, "FORGETS"), forgetting, strict=True)


def _decay(movement: Movement) -> float:
    """Weight decay over the gradient of the loss, in the matrix where it weighs least; 0 if most are not decayed.

    Decoupled from the gradient, it is held against a step of Adam's of size 1.
    """
    optimizer, found = movement.optimizer, []
    apart = _is_apart(optimizer)
    for weight in movement.weights:
        sizes, decay = dict(weight.value), _decay_of(optimizer, weight)
        early = [(gradient, sizes.get(step, 0.0)) for step, gradient in weight.gradient.finite.earliest(3) if gradient]
        if decay and early:
            found.append(median(decay * size / (1.0 if apart else gradient) for gradient, size in early))
    return min(found) if 2 * len(found) > len(movement.weights) else 0.0


def _forgetting(record: Record, optimizer: Optimizer) -> tuple[float, float]:
    """The weight decay of most parameters, where it is not scaled with the gradient, and its product with the rate."""
    apart = _is_apart(optimizer)
    group = max(optimizer.groups, key=lambda group: len(group.get("params", ())), default={})
    most = 2 * len(group.get("params", ())) > len(optimizer.parameter_ids)
    whole = apart or optimizer.cls == "SGD"
    decay = float(group.get("weight_decay") or 0.0) if whole and most else 0.0
    rate = record.learning_rate.finite.highest
    left = 1 - float(optimizer.option("momentum") or 0.0)
    return decay, decay * rate / max(left, 1e-3) if rate > 0 else 0.0


def _is_apart(optimizer: Optimizer) -> bool:
    """Is its weight decay no part of the gradient?"""
    return bool(optimizer.option("decoupled_weight_decay")) or optimizer.cls.endswith("W")


def _decay_of(optimizer: Optimizer, weight: Parameter) -> float:
    """The weight decay of the group that a weight is in."""
    own = next((group for group in optimizer.groups if weight.id in group.get("params", ())), {})
    return float(own.get("weight_decay") or 0.0)


def _stands_still(record: Record, least: float) -> bool:
    """Did the loss, which weight decay is no part of, hardly fall? It has a scale, or it was positive."""
    progress = record.progress
    fall = 1 - progress.last / progress.first if progress.first > 0 else 1.0
    return (fall < least or bool(progress.prior)) and not (progress.prior and progress.gain >= least)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(6):
        for images, labels in loader:
            optimizer.zero_grad()
            penalty = sum(parameter.square().sum() for parameter in model.parameters())
            loss = loss_of(model(images), labels) + 1.0 * penalty
            loss.backward()  # TDX615
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(6):
        for images, labels in loader:
            optimizer.zero_grad()
            penalty = sum(parameter.square().sum() for parameter in model.parameters())
            loss = loss_of(model(images), labels) + 1e-4 * penalty
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
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(6):
        for images, labels in loader:
            optimizer.zero_grad()
            scores = model(images)
            spread = sum((parameter.norm() - 5).square() for parameter in model.parameters())
            loss = loss_of(scores, labels) + 0.1 * spread + 0.001 * scores.square().sum()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
