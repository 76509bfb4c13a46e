"""The classifier gives one and the same answer to nearly every input, though all answers are wanted.

Seen as an accuracy that stays at the share of one class, and a column of the confusion matrix that holds everything.
Measured is the entropy of the answers given in a batch over log C, late in training, at one batch after the other.

Hurts because an answer that does not depend on the input carries no information, however low the loss: the model has
learnt at most how often each class occurs.

Helped by finding what took the input's say away, as this is most often a consequence: steps that are too large, units
that are dead or saturated, a weight decay that outweighs the loss, layers that get no gradient, inputs that are
constant, or labels that belong to other inputs.

The same comes of a weighting of classes that is the wrong way round: with the commoner one weighing more, the rarer
ones are given up all the sooner.

No fault when one class is all that a batch holds, as for a discriminator, or nearly all, where the commonest answer may
be the best one; nor at the start of training, where it is what the biases say.

Sources: S. Schoenholz et al., arXiv 1611.01232, on outputs that forget their inputs; Amazon SageMaker Debugger,
rule "ClassImbalance".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torchdx.finding import Finding, NotEnough
from torchdx.record.answers import by_label, entropy_of

if TYPE_CHECKING:
    from torchdx.record import Answers, LossUse, Record

code, family, severity = "TDX616", "loss", "warning"
needs = frozenset({"answers"})
explains = frozenset({"not-learning"})
follows = frozenset({"not-learning"})
"""Whatever keeps a model from learning may well leave it with one answer: any such fault explains this one."""

ONE_CLASS = 0.2
"""Entropy of the answers given over log C, in each batch, below which they are one class's (catalogue, row 89). The
healthy programs at hand read 0.81 and more; seven sick ones 0.0, and others that learn a little 0.14 to 0.6."""

BALANCED = 0.8
"""Entropy of the answers wanted over log C, above which no class is common enough to be always right: of two classes
the rarer one makes up a quarter."""

MIXED = 0.5
"""The same of a single batch, over the most that its size allows: below it, the data are sorted."""

RARE, AGAINST, GIVEN = 3.0, 3.0, 0.3
"""Times that the commonest label is as frequent as the rarest, and weighs as much in the loss, from which the weights
work against the rarest one; and the share of its labels that it is answered at most. Weights that balance read 1 over
RARE at AGAINST, and answers of 1 and more; two sick programs: 1000 and 0, 14 and 0.02."""

ENOUGH_STEPS, BATCHES, ANSWERS = 30, 3, 60
"""Steps of training, batches of its second half, and answers in them, before it is judged."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Every classifying loss whose answers are one class's, batch after batch, in the second half of training."""
    trained = record.steps - record.latest_start
    groups = [group for group in record.answers if group.phase == "train" and group.told[0].get("predicted")]
    if groups and trained < ENOUGH_STEPS:
        yield NotEnough(needs=f"at least {ENOUGH_STEPS} steps")
        return
    for group in groups:
        late = group.since(record.latest_start + trained // 2)
        measured = _measured(late)
        if measured is not None and measured["given"] < ONE_CLASS and measured["wanted"] > BALANCED:
            yield _finding(late, measured)
        elif against := _against(record, group):
            yield _misweighed(group, *against)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    trained = record.steps - record.latest_start
    for group in record.answers:
        late = group.since(record.latest_start + trained // 2)
        measured = _measured(late) if group.phase == "train" and trained >= ENOUGH_STEPS else None
        if against := _against(record, group, 0.0):
            yield "AGAINST", against[2]
        if measured is not None:
            yield "BALANCED", measured["wanted"]
            if measured["wanted"] > BALANCED:
                yield "ONE_CLASS", measured["given"]


def _against(record: Record, group: Answers, least: float = AGAINST) -> tuple[int, int, float] | None:
    """The commonest label, the rarest, and how many times more the first weighs, where that is given up."""
    wanted, given = group.counts("wanted"), group.since(record.latest_start + 10).counts("predicted")
    uses = [use for use in record.losses_called(group.function) if use.site == group.site]
    weights = _weights(uses[0], len(wanted)) if uses else None
    if weights is None or len(wanted) < 2 or max(wanted) >= len(weights):
        return None
    common, rare = max(wanted, key=wanted.__getitem__), min(wanted, key=wanted.__getitem__)
    times = weights[common] / weights[rare] if weights[rare] > 0 else math.inf
    answered = (given[rare] / sum(given.values())) / (wanted[rare] / sum(wanted.values())) if given else 1.0
    uneven = wanted[common] > RARE * wanted[rare] and answered < GIVEN
    return (common, rare, times) if (uneven and times > AGAINST) or (least <= 0 and times > 0) else None


def _weights(use: LossUse, classes: int) -> list[float] | None:
    """What each class weighs in this loss; None where that is not known."""
    told, positive = use.option("weight"), use.option("pos_weight")
    if isinstance(positive, list) and len(positive) == 1 and classes == 2:
        return [1.0, *positive]
    return told if isinstance(told, list) and len(told) >= classes else None


def _misweighed(group: Answers, common: int, rare: int, times: float) -> Finding:
    wanted = group.counts("wanted")
    share = wanted[rare] / sum(wanted.values())
    return Finding(
        message=f"the loss weighs class {common} {times:.3g} times as much as class {rare}, which is rare already "
        f"({share:.1%} of the labels), and the model hardly ever answers it",
        site=group.site,
        evidence={"weight of the commonest over that of the rarest": times, "share of the rarest": share},
        cure="weigh classes by one over their frequency, the rarer the more (`pos_weight` is negatives over positives)",
        confidence=0.9,
    )


def _measured(late: Answers) -> dict[str, float] | None:
    """Entropy of the answers wanted, and the greatest entropy of those given in a batch, over log C."""
    wanted = late.counts("wanted")
    if len(wanted) < 2:
        return None
    most = math.log(len(wanted))
    told = [fact for fact in late.told if fact.get("wanted") and math.isfinite(fact.get("value") or 0.0)]
    batches = [(by_label(fact["wanted"]), by_label(fact["predicted"])) for fact in told]
    mixed = [(asked, given) for asked, given in batches if entropy_of(asked) >= MIXED * _most(asked, len(wanted))]
    if len(mixed) < BATCHES or sum(sum(asked.values()) for asked, _ in mixed) < ANSWERS:
        return None
    return {"wanted": entropy_of(wanted) / most, "given": max(entropy_of(given) for _, given in mixed) / most}


def _most(counts: dict[int, int], classes: int) -> float:
    """The greatest entropy that this many labels can have."""
    return math.log(max(2, min(classes, sum(counts.values()))))


def _finding(late: Answers, measured: dict[str, float]) -> Finding:
    wanted, given, right = (late.counts(key) for key in ("wanted", "predicted", "right"))
    label, times = given.most_common(1)[0]
    total = sum(wanted.values())
    last = by_label(late.told[-1]["predicted"])
    evidence: dict[str, Any] = {
        "share of the commonest answer in the last batch": max(last.values()) / sum(last.values()),
        "largest entropy of the answers in a batch, over log C": measured["given"],
        "entropy of the labels, over log C": measured["wanted"],
        "accuracy": sum(right.values()) / total,
        "share of the commonest label": max(wanted.values()) / total,
        "answers, by class": [given.get(label, 0) for label in sorted(wanted)][:50],
        "labels, by class": [wanted[label] for label in sorted(wanted)][:50],
    }
    same = f"class {label} in {times / total:.0%} of cases" if times > 0.9 * total else "one class at a time"
    return Finding(
        message=f"late in training the model answers {same}, whatever the input, and the labels are of "
        f"{len(wanted)} classes: the accuracy is {sum(right.values()) / total:.0%}",
        site=late.site,
        evidence=evidence,
        cure="find what keeps the inputs from the answers: try to fit ten samples; lower the learning rate and the "
        "weight decay; look at the inputs as the model gets them",
        confidence=0.9,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    weight = torch.ones(10)
    weight[3] = 1e6
    for _ in range(20):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels, weight)  # TDX616
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
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(20):
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
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    rare = torch.tensor(digits.target == 8).float().unsqueeze(1)  # one in ten
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    critic = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    loss_of = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam([*model.parameters(), *critic.parameters()], lr=0.001)
    for _ in range(5):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            noise = torch.rand(len(rows), 64) * 2 - 1
            real = loss_of(critic(inputs[rows]), torch.ones(len(rows), 1))
            false = loss_of(critic(noise), torch.zeros(len(rows), 1))
            (loss_of(model(inputs[rows]), rare[rows]) + real + false).backward()
            optimizer.step()
    print(f"{(model(inputs) > 0).float().mean().item():.3f}")
