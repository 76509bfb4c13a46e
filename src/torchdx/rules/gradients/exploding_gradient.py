"""Gradients grow on their way back, or from step to step, until a single step destroys the model.

Seen as a gradient norm that is enormous from the first step on, or that suddenly rises far above its usual size while
the loss jumps. Measured are the pull, the sum over weights of |g| |w| / L, which says by how many per cent the loss
would change if every weight changed by one per cent (about the number of layers, for a net in order), and the gradient
norm over the median of the looks before.

Hurts because backpropagation multiplies by each layer's weights: with a gain a > 1 a layer, or a time step, the
gradient grows as a^L. The step taken with it leaves the region in which the gradient means anything.

Helped by initialisation that keeps the variance (He, Glorot, orthogonal with gain 1), normalisation, residual branches
that start small, clipping the gradient norm (for recurrent nets above all), and a lower learning rate.

No fault when the norm is large but clipped, when a loss is merely near zero or negative, or when the loss is in order
again after a single spike.

Sources: R. Pascanu et al., "On the difficulty of training recurrent neural networks", arXiv 1211.5063; K. He et al.,
arXiv 1502.01852.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.record import Movement, Parameter, Record
    from torchdx.source import Call, Program

code, family, severity = "TDX203", "gradients", "warning"
needs = frozenset({"gradients", "step"})
explains = frozenset(
    {
        *("nonfinite-value", "vanishing-gradient", "dead-relu", "initial-loss-off-scale"),
        *("non-finite", "diverged", "not-learning"),
    }
)

PULL = 150.0
"""Pull at the first step, of the prior loss instead of the first, and of a weight on average: depth alone adds to the
sum, and a loss that begins too high divides it. Sound starts read 25 for 5 to 20 layers of ReLU (He), 19 for tanh, 46
for 20 with batch normalisation, 100 for batches of two; weights twice or more too large, and tanh at a gain of four,
330 and more."""
SPIKE = 20.0
"""Norm over the trailing median: healthy looks reach 9.4 in 7,620 and 8.0 in the zoo (catalogue, spike)."""
POOR = 0.5
"""Share of the loss learnt away below which the large gradients did harm; healthy classifiers end above 0.9."""
LOST = 0.1
"""The same for a spike, which alone says less."""
JUMP = 2.0
"""The loss over its lowest that counts as gone up: TheDeepChecker's bound for divergence."""


def in_run(record: Record) -> Iterator[Finding]:
    """Each optimizer whose weights are pulled too hard at the start, or all of a sudden later, to the run's harm."""
    for movement in record.movements:
        if _is_clipped(record):
            continue
        if _pull_a_weight(record, movement) > PULL and _does_harm(record, POOR):
            yield _from_the_start(record, movement)
        elif movement.spikes().highest > SPIKE and _does_harm(record, LOST) and _loss_jumped(record):
            yield _suddenly(record, movement)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    if _is_clipped(record):
        return
    for name, values in {
        "PULL": [_pull_a_weight(record, movement) for movement in record.movements],
        "SPIKE": [movement.spikes().highest for movement in record.movements],
    }.items():
        if known := [value for value in values if value == value]:
            yield name, max(known)
    yield "POOR", record.progress.gain
    yield "LOST", record.progress.gain
    yield "JUMP", _jump(record)


def _pull_a_weight(record: Record, movement: Movement) -> float:
    """By how many per cent of the prior loss a weight's change by one per cent would change the loss, on average."""
    prior = record.progress.prior
    if not prior or not len(movement.pull):
        return math.nan
    loss = max(abs(dict(movement.objective)[movement.pull.steps[0]]), movement.scale)
    return movement.pull.first * loss / prior / len(movement.weights)


def _is_clipped(record: Record) -> bool:
    """Were gradients clipped at most steps? Then no step was larger than meant."""
    steps = record.process.all("step")
    return sum(fact.get("clip") is not None for fact in steps) > len(steps) / 2


def _does_harm(record: Record, gain: float) -> bool:
    return not record.progress.finite or record.progress.gain < gain


def _loss_jumped(record: Record) -> bool:
    return not record.progress.finite or _jump(record) > JUMP


def _jump(record: Record) -> float:
    """The loss, smoothed, where it was highest, over where it was lowest."""
    return record.progress.worst / max(record.progress.best, 1e-3)


def _from_the_start(record: Record, movement: Movement) -> Finding:
    guilty = _first_amplified(movement.weights, lambda weight: movement.pull_of(weight).first)
    return Finding(
        message=f"the gradient explodes from the first step on: its norm is {movement.norm.first:.3g}, and a change of "
        f"all weights by 1 % would change the loss by {movement.pull.first:.3g} %; first of the layers that amplify "
        f"is `{_named(guilty)}`",
        site=guilty.site,
        layer=guilty.layer or None,
        evidence={
            "pull at the first step": movement.pull.first,
            "gradient norm": list(movement.norm.finite.thinned(50).values),
            "training loss at first": record.objective.first,
            "RMS of the weight": guilty.value.first,
        },
        cure="initialise so that the variance is kept (He, Glorot, orthogonal), normalise, or clip the gradient norm",
        confidence=0.9,
    )


def _suddenly(record: Record, movement: Movement) -> Finding:
    spikes = movement.spikes()
    step = next(step for step, times in spikes if times > SPIKE)
    guilty = _first_amplified(movement.weights, lambda weight: dict(weight.gradient).get(step, 0.0))
    return Finding(
        message=f"at step {step} the gradient norm is {dict(spikes)[step]:.3g} times its usual size, and the loss goes "
        f"up with it; the largest gradient is that of `{_named(guilty)}`",
        site=guilty.site,
        layer=guilty.layer or None,
        evidence={
            "step": step,
            "norm over the median before": dict(spikes)[step],
            "gradient norm": list(movement.norm.finite.thinned(50).values),
        },
        cure="clip the gradient norm, or lower the learning rate",
        confidence=0.8,
    )


def _first_amplified(weights: Sequence[Parameter], strength: Callable[[Parameter], float]) -> Parameter:
    """The first in the model's order that is hit about as hard as the one hit hardest."""
    most = max(strength(weight) for weight in weights)
    return next((weight for weight in weights if strength(weight) >= most / 2), weights[0])


def _named(weight: Parameter) -> str:
    return weight.layer or weight.name


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Clip the gradient norm before the step, in each loop of the file that takes one."""
    for loop in program.training_loops:
        calls = [event.call for event in loop.all("step") if event.home is loop.node and event.call is not None]
        model = _model_of(calls[0]) if len(calls) == 1 and not calls[0].node.args else None
        statement = loop.file.statement(calls[0].node) if model else None
        if statement is not None and finding.site and loop.file is program.file(finding.site.path):
            line = f"torch.nn.utils.clip_grad_norm_({model}.parameters(), 1.0)"
            found = edits.fix("clip the gradient norm", loop.file, [edits.insert_before(loop.file, statement, line)])
            if found is not None:
                yield found


def _model_of(step: Call) -> str | None:
    """What the optimizer that steps calls its model, where it was given all its parameters."""
    made = step.receiver.value if step.receiver is not None else None
    if not isinstance(made, Instance) or not made.is_optimizer or made.call is None:
        return None
    given = made.call.argument(0, "params")
    same_scope = made.call.function is step.function
    return given.text.removesuffix(".parameters()") if same_scope and given and ".parameters()" in given.text else None


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32).view(-1, 16, 4) / 8 - 1
    labels = torch.tensor(digits.target)
    recurrent = nn.RNN(4, 64, batch_first=True, nonlinearity="relu")  # TDX203
    nn.init.orthogonal_(recurrent.all_weights[0][1], gain=2.0)
    head = nn.Linear(64, 10)
    model = nn.ModuleList([recurrent, head])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(12):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            states, _ = recurrent(images[rows])
            loss = nn.functional.cross_entropy(head(states[:, -1]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32).view(-1, 16, 4) / 8 - 1
    labels = torch.tensor(digits.target)
    recurrent = nn.RNN(4, 64, batch_first=True, nonlinearity="relu")
    nn.init.orthogonal_(recurrent.all_weights[0][1], gain=1.0)
    head = nn.Linear(64, 10)
    model = nn.ModuleList([recurrent, head])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(12):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            states, _ = recurrent(images[rows])
            loss = nn.functional.cross_entropy(head(states[:, -1]), labels[rows])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    print(f"{loss.item():.3f}")
