"""One class is never answered rightly, although the model has learnt the others.

Seen as a row of the confusion matrix without anything on the diagonal, behind an accuracy that looks fine: the share of
right answers among the samples of that class (its recall) is exactly 0 throughout the second half of training.

Hurts because the mean over all samples hides it: of ten classes, one that is never found costs a tenth of the accuracy;
of two, where one is rare, nearly nothing, and that one is often what the model is for.

Helped by looking at that class: its labels and samples, its column of the last layer (a bias, a mask, an activation
that cuts its score off); where it is rare, by `weight=` or `pos_weight=`, by a sampler that draws it more often, or by
another threshold than 0.5.

No fault when the class cannot be told from a commoner one by these inputs, as then the commoner answer is the better
one; of a class that is that rare, that is given where others were wanted, and of two classes, this is but a note. Nor
where the loss weighs classes, or a rare one does show in the loss.

Sources: H. He and E. Garcia, "Learning from Imbalanced Data" (2009); Amazon SageMaker Debugger, rule "ClassImbalance",
which looks at shares of false answers above 0.7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record.answers import entropy_of

if TYPE_CHECKING:
    from torchdx.record import Answers, Record

code, family, severity = "TDX618", "loss", "warning"
needs = frozenset({"answers"})
explains: frozenset[str] = frozenset()

SAMPLES = 20
"""Samples of the class in the second half of training: none right of 20 means a recall below 0.14, at 95 % (catalogue,
row 89, wants 30, and four batches of 64 seldom hold as many of each of ten classes)."""

CONFUSED = 0.25
"""Times that the class was the answer to samples of others, over its own samples, above which it is not shut out but
taken for others, and others for it: letters of a language model of which none can be known read 0.6, sick ones 0."""

OTHERS = 0.85
"""Share of right answers among the other classes' samples, from which these have been learnt. Healthy programs with a
class that has no right answer at all read 0.62 (a language model) or less; those that do not learn, 0.07 to 0.5; the
sick ones 0.95 to 0.99."""

RARE = 0.5
"""Share of the class over 1/C, below which it is rare, and may well be given up."""

NOTHING = 0.95
"""Loss over that of knowing only how often each class occurs, above which nothing was learnt of a rare class: below it
the scores do tell it from the others, and only the threshold is too high for it."""

MOST_CLASSES = 200
"""More classes than these are words or pieces of them, the rarer of which are seldom the likeliest."""

BATCHES, ENOUGH_STEPS = 3, 100
"""Batches of the second half, and steps of training, before it is judged."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every class, at every loss, that was never answered rightly in the second half of training."""
    for late in _judged(record):
        wanted, right = late.counts("wanted"), late.counts("right")
        for label, count in sorted(wanted.items()):
            missed = count >= SAMPLES and not right[label] and _others(late, label) > OTHERS
            if missed and not (_is_rare(late, label) and _loss(late) < NOTHING):
                yield _finding(late, label)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for late in _judged(record):
        wanted, right = late.counts("wanted"), late.counts("right")
        missed = [label for label in wanted if not right[label]]
        if missed:
            yield "SAMPLES", max(wanted[label] for label in missed)
            yield "OTHERS", max(_others(late, label) for label in missed)
            yield "CONFUSED", max(late.counts("predicted")[label] / wanted[label] for label in missed)
            yield "NOTHING", _loss(late)


def _judged(record: Record) -> Iterator[Answers]:
    """The answers in the second half of training, of losses that weigh all classes alike."""
    trained = record.steps - record.latest_start
    for group in record.answers:
        if group.phase != "train" or trained < ENOUGH_STEPS or not group.told[0].get("wanted"):
            continue
        late = group.since(record.latest_start + trained // 2)
        uses = [use for use in record.losses_called(group.function) if use.site == group.site]
        weighted = any(use.option("weight") or use.option("pos_weight") for use in uses)
        finite = all(math.isfinite(fact.get("value") or 0.0) for fact in late.told)
        if len(late.told) >= BATCHES and finite and not weighted and 2 <= len(late.counts("wanted")) <= MOST_CLASSES:
            yield late


def _is_rare(late: Answers, label: int) -> bool:
    """Is it the rarer one of two classes, or much rarer than most?"""
    wanted = late.counts("wanted")
    return len(wanted) == 2 or wanted[label] < RARE * sum(wanted.values()) / len(wanted)


def _is_confused(late: Answers, label: int) -> bool:
    """Is it given as the answer, though never where it should be: can it not be told from others by these inputs?"""
    return late.counts("predicted")[label] > CONFUSED * late.counts("wanted")[label]


def _loss(late: Answers) -> float:
    """The mean loss over that of knowing nothing but how often each class occurs."""
    prior = entropy_of(late.counts("wanted"))
    return fmean(fact.get("value") or 0.0 for fact in late.told) / prior if prior else math.nan


def _others(late: Answers, label: int) -> float:
    """The share of right answers among the samples of all other classes."""
    wanted, right = late.counts("wanted"), late.counts("right")
    rest = sum(wanted.values()) - wanted[label]
    return (sum(right.values()) - right[label]) / rest if rest else 0.0


def _finding(late: Answers, label: int) -> Finding:
    wanted, given = late.counts("wanted"), late.counts("predicted")
    total, classes = sum(wanted.values()), len(wanted)
    share, others = wanted[label] / total, _others(late, label)
    rare, confused = _is_rare(late, label), _is_confused(late, label)
    majority = f", and the accuracy, {others * (1 - share):.1%}, is what the other answer alone would reach"
    return Finding(
        message=f"class {label} is never answered rightly: 0 of {wanted[label]} samples in the second half of training "
        f"({share:.1%} of all), with {others:.0%} right among the others" + (majority if classes == 2 else ""),
        site=late.site,
        evidence={
            "class": label,
            "samples of the class": wanted[label],
            "share of the class": share,
            "times it was the answer": given[label],
            "share of right answers among the others": others,
            "labels, by class": [wanted[k] for k in sorted(wanted)][:50],
            "answers, by class": [given[k] for k in sorted(wanted)][:50],
        },
        cure="weigh it more (`weight=`, `pos_weight=`), draw it more often, or choose another threshold than 0.5"
        if rare
        else "look at this class: its labels, and what makes its score in the last layer",
        confidence=0.7 if rare else 0.9,
        severity="note" if rare or confused else None,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    unused = torch.zeros(10)
    unused[0] = -12.0  # "class 0 is the background, which is not to be answered": in these data it is a digit
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(16):
        for rows in torch.randperm(len(inputs)).split(128):
            optimizer.zero_grad()
            scores = model(inputs[rows]).clamp(-3, 3)
            loss = nn.functional.cross_entropy(scores + unused, labels[rows])  # TDX618
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(16):
        for rows in torch.randperm(len(inputs)).split(128):
            optimizer.zero_grad()
            scores = model(inputs[rows]).clamp(-3, 3)
            loss = nn.functional.cross_entropy(scores, labels[rows])
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
    rare = torch.tensor(digits.target == 8).float().unsqueeze(1)  # one in ten, and found in time
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(16):
        for rows in torch.randperm(len(inputs)).split(128):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(inputs[rows]), rare[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
