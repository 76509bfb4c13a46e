"""The classifier gives one and the same answer to nearly every input, though all answers are wanted.

Seen as an accuracy that stays at the share of one class, and a column of the confusion matrix that holds everything.
Measured is the entropy of the answers given in a batch over log C, late in training, at one batch after the other.

Hurts because an answer that does not depend on the input carries no information, however low the loss: the model has
learnt at most how often each class occurs.

Helped by finding what took the input's say away, as this is most often a consequence: steps that are too large, units
that are dead or saturated, a weight decay that outweighs the loss, layers that get no gradient, inputs that are
constant, or labels that belong to other inputs.

The same comes of a weighting of classes that is the wrong way round: with the commoner one weighing more, the rarer
ones are given up all the sooner; and of one that balances nothing, where a single class weighs more than all the others
together many times over, so that it is answered at the least doubt.

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
from torchdx.record.weighing import go_with_frequency, overweighed, weights_of

if TYPE_CHECKING:
    from torchdx.record import Answers, Record

code, family, severity = "TDX616", "loss", "warning"
needs = frozenset({"answers"})
explains = frozenset({"not-learning", "class-never-right"})
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

OVER, OFTEN = 20.0, 2.0
"""Times that a class's labels weigh as much in the loss as all the others' together, though they are the fewer, from
which its weight balances nothing, and times too often that it is answered. Weights of five healthy programs make it
0.4 to 1.24 times; three sick ones read 52, 138 and 6000, and 3.9 to 9.2 times too often."""

ALWAYS, SELDOM = 0.98, 0.3
"""Share of the answers that are one class's, and of the labels that are: no model that learns gives the rarer class to
nearly everything. Of 121 healthy programs none answers a class of less than half the labels nine times in ten; two sick
ones read 1.0 at 0.05 and at 0.12."""

MANY, LABELS = 3, 5
"""Classes from which a linear layer's scores are not a discriminator's, and looks at labels that must all be of one
class: the only programs at hand with one label alone and as many scores are two whose rows were sorted by it."""

ENOUGH_STEPS, BATCHES, ANSWERS = 30, 3, 60
"""Steps of training, batches of its second half, and answers in them, before it is judged."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Every classifying loss whose answers are one class's, batch after batch, in the second half of training."""
    trained = record.steps - record.latest_start
    groups = [group for group in record.answers if group.phase == "train" and group.told[0].get("predicted")]
    groups = [told for group in groups if (told := group.finite).told]
    if groups and trained < ENOUGH_STEPS:
        yield NotEnough(needs=f"at least {ENOUGH_STEPS} steps")
        return
    for group in groups:
        late = group.since(record.latest_start + trained // 2)
        measured = _measured(late)
        if measured is not None and measured["given"] < ONE_CLASS and measured["wanted"] > BALANCED:
            yield _finding(late, measured)
        elif (rare := _rarer(late)) is not None:
            yield _given_to_all(late, rare)
        elif against := _against(record, group):
            yield _misweighed(group, *against)
        elif (over := overweighed(record, group, record.latest_start + 10)) and over[1] > OVER and over[2] > OFTEN:
            yield _overweighed(group, *over)
        elif _asks_for_one(record, group):
            yield _unasked(record, group)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    trained = record.steps - record.latest_start
    for group in record.answers:
        late = group.since(record.latest_start + trained // 2)
        measured = _measured(late) if group.phase == "train" and trained >= ENOUGH_STEPS else None
        if against := _against(record, group, 0.0):
            yield "AGAINST", against[2]
        if over := overweighed(record, group, record.latest_start + 10):
            yield "OVER", over[1]
            yield "OFTEN", over[2]
        if measured is not None:
            yield "BALANCED", measured["wanted"]
            if measured["wanted"] > BALANCED:
                yield "ONE_CLASS", measured["given"]


def _against(record: Record, group: Answers, least: float = AGAINST) -> tuple[int, int, float] | None:
    """The commonest label, the rarest, and how many times more the first weighs, where that is given up."""
    wanted, given = group.counts("wanted"), group.since(record.latest_start + 10).counts("predicted")
    weights = weights_of(record, group)
    if not weights:
        return None
    common, rare = max(wanted, key=wanted.__getitem__), min(wanted, key=wanted.__getitem__)
    times = weights[common] / weights[rare] if weights[rare] > 0 else math.inf
    answered = (given[rare] / sum(given.values())) / (wanted[rare] / sum(wanted.values())) if given else 1.0
    uneven = wanted[common] > RARE * wanted[rare] and answered < GIVEN
    told = (uneven and times > AGAINST) or go_with_frequency(weights, wanted) or (least <= 0 and times > 0)
    return (common, rare, times) if told else None


def _overweighed(group: Answers, label: int, over: float, often: float) -> Finding:
    wanted = group.counts("wanted")
    share = wanted[label] / sum(wanted.values())
    return Finding(
        message=f"the loss weighs class {label} so much that its labels, {share:.1%} of all, count {over:.3g} times as "
        f"much as all the others together: the model answers it {often:.2g} times too often",
        site=group.site,
        evidence={"weight of its labels over that of the others": over, "times too often": often, "share": share},
        cure="weigh classes by one over their frequency, so that each counts the same (`pos_weight` is negatives over "
        "positives), or less",
        confidence=0.9,
    )


def _misweighed(group: Answers, common: int, rare: int, times: float) -> Finding:
    wanted = group.counts("wanted")
    share = wanted[rare] / sum(wanted.values())
    return Finding(
        message=f"the loss weighs class {common} {times:.3g} times as much as class {rare}, which is rare already "
        f"({share:.1%} of the labels): it is given up all the sooner",
        site=group.site,
        evidence={"weight of the commonest over that of the rarest": times, "share of the rarest": share},
        cure="weigh classes by one over their frequency, the rarer the more (`pos_weight` is negatives over positives)",
        confidence=0.9,
    )


def _asks_for_one(record: Record, group: Answers) -> bool:
    """Are all labels ever seen here of one class of many, while nothing else is classified in the same steps?"""
    steps = [fact["step"] for fact in group.told]
    looks = [look for use in record.losses_called(group.function) if use.site == group.site for look in use.calls()]
    many = looks and all(
        len(shape := look["input"].get("shape", ())) == 2
        and shape[1] >= MANY
        and look["input"].get("made_by") == "AddmmBackward0"  # scores put side by side have the right one in one place
        and len(look["target"].get("counts") or ()) == 1
        for look in looks
    )
    wanted = group.counts("wanted")
    here = (group.function, group.site)
    others = [one for one in record.answers if (one.function, one.site) != here and one.phase == "train"]
    if not many or len(wanted) != 1 or max(len(steps), len(looks)) < LABELS or sum(wanted.values()) < ANSWERS:
        return False
    apart = all(one.told[-1]["step"] < steps[0] or one.told[0]["step"] > steps[-1] for one in others)
    return apart and steps[-1] - steps[0] >= ENOUGH_STEPS


def _rarer(late: Answers) -> int | None:
    """The class that nearly all answers are of, if less than half as many labels are of it as of the commonest."""
    wanted, given = late.counts("wanted"), late.counts("predicted")
    total, answered = sum(wanted.values()), sum(given.values())
    if len(late.told) < BATCHES or total < ANSWERS or answered < ANSWERS or len(wanted) < 2:
        return None
    label, times = given.most_common(1)[0]
    seldom = wanted[label] < SELDOM * total and 2 * wanted[label] < max(wanted.values())
    return label if times > ALWAYS * answered and seldom else None


def _given_to_all(late: Answers, label: int) -> Finding:
    wanted, given = late.counts("wanted"), late.counts("predicted")
    share, times = wanted[label] / sum(wanted.values()), given[label] / sum(given.values())
    return Finding(
        message=f"class {label} is the answer to {times:.1%} of all, though only {share:.1%} of the labels are of it: "
        "the loss does not count the others",
        site=late.site,
        evidence={"share of the answers": times, "share of the labels": share},
        cure="see what the loss multiplies each answer by: where a weight or a mask is 0 for the other classes, "
        "nothing speaks for them",
        confidence=0.9,
    )


def _unasked(record: Record, group: Answers) -> Finding:
    label, seen = group.counts("wanted").most_common(1)[0]
    looks = next(list(use.calls()) for use in record.losses_called(group.function) if use.site == group.site)
    classes = looks[0]["input"]["shape"][1]
    return Finding(
        message=f"all {seen} labels seen in training are of class {label}, and the model has scores for {classes} "
        "classes: it learns to answer that one, whatever the input",
        site=group.site,
        evidence={"labels seen": seen, "different ones": 1, "classes": classes},
        cure="look at how the rows for training were picked: the first of a sorted table are all of one class; shuffle "
        "before they are split",
        confidence=0.85,
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
