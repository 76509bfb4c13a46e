"""The labels have nothing to do with the inputs they stand beside.

Seen as a training loss that falls slowly, by learning samples by heart, or not at all, while validation stays at
chance. Every gradient, every activation and the learning rate look healthy. Measured without any model on some
hundred samples of the batches: those that are alike have labels no more alike than any others, and the run learns
nothing that carries over. By the deep look (`torchdx run --deep`) as well: copies are trained on some of the
program's own samples, once with their labels and several times with the same labels dealt out anew, and the true ones
are no easier to learn.

Hurts because a network with enough parameters learns any labels by heart. What it learns carries over to new samples
only as far as inputs and labels belong together.

Helped by looking at twenty samples with their labels, after every transform. Inputs and labels were often shuffled or
sorted apart, read from files listed in another order, or filtered on one side only.

No fault when the run itself learns, or validates better than chance; nor where labels come of the model's own choices,
or the relation is one that no distance shows (parity, sums modulo a number), unless such a run does not learn at all.

Sources: A. Gretton et al., "Measuring Statistical Dependence with Hilbert-Schmidt Norms" (2005); C. Zhang et al.,
arXiv 1611.03530; A. Karpathy, "A Recipe for Training Neural Networks" (2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from statistics import mean, pstdev
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough
from torchdx.record import site_of
from torchdx.record.pairs import hits

if TYPE_CHECKING:
    from torchdx.record import Answers, Fact, Pairs, Record

code, family, severity = "TDX511", "data", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        *("not-learning", "validation-gap", "overfitting", "stuck-at-minimum", "learning-rate-too-low"),
        *("class-never-right", "one-class-predictions", "output-ignores-input", "cannot-fit-one-batch"),
        *("learning-rate-too-high", "forget-gate-shut"),
    }
)

RELATED = 4.5
"""Deviations of chance by which samples that are alike must have labels that are alike. Of 48 healthy programs 44
read 4.7 (parity of three bits) to 107, and the others 2.1 to 3.9 (numbers of users and of films, a correlation of
0.3); 13 whose labels were dealt out, shifted, reversed or drawn 0.3 to 4.2. Of 1,350 random data sets 99 in 100 are
below 4.1."""
BY_HEART, CHANCE = 3.0, 2.0
"""The same, and deviations of chance of right answers in the first pass over the data, below both of which a classifier
of numbers that does learn has learnt by heart. Of 50 healthy programs 46 read 5.0 and more there, and the others, slow
at first, -2.2 to 0.7, and 64 to 145 on the relation; eight sick ones 1.2 to 4.2 and -1.1 to 2.6."""
STEPS = 50
"""Optimizer steps before which nothing need have been learnt."""
JUDGED = 100
"""Samples that must have been looked at, for the weakest relation of those programs to be seen."""
SURE = 3.0
"""Deviations of chance above which right answers are no luck."""
LEARNT = 0.1
"""Share of the loss of knowing nothing that must not have been learnt where nothing is known of samples held out."""
TRAVEL = 0.05
"""How far the weights must have moved beside their size, else it is the optimizer that keeps them from learning."""

EASIER = 0.05
"""Share by which true labels' training loss is lower than dealt ones'. Healthy programs whose copies learn (30):
0.15 to 0.99; labels that were shuffled (2): -0.01; a loss broadcast over all pairs: 0.005."""
CARRIES = 0.97
"""Held-out loss over that of the best constant answer, below which something carries over. Healthy: 0.01 to
0.82, and 1.0 to 1.2 for linear regressions that a copy does not learn in 100 steps; shuffled labels: 1.0 and 1.1."""
MOVED = 0.97
"""Training loss on dealt labels over a constant answer's, below which the copy can learn by heart, so that the
comparison means something. With shuffled labels 0.88 and 0.94; linear regressions 1.0 and more."""
GAIN = 0.5
"""Share of the loss learnt away in the run itself, above which it may have learnt more than by heart."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Labels that have nothing to do with the inputs, by what is alike; or are no easier to learn than others."""
    pairs = _unrelated(record)
    if pairs is not None and _learns_nothing(record):
        yield _finding_of(record, pairs)
    elif record.experiments.asked:
        yield from _by_experiment(record)


def _unrelated(record: Record) -> Pairs | None:
    """The one loss that is trained on, if its targets have nothing to do with the inputs."""
    known = [pairs for pairs in record.pairs if pairs.related is not None and pairs.judged >= JUDGED]
    if not known or len({use.function for use in record.losses}) > 1 or len({o.cls for o in record.optimizers}) != 1:
        return None
    return known[0] if all(pairs.related is not None and pairs.related < RELATED for pairs in known) else None


def _learns_nothing(record: Record) -> bool:
    """Does nothing carry over to other samples, or is nothing learnt at all, though the weights move?"""
    progress = record.progress
    if _cost_blindly(record):
        moved = record.steps >= STEPS and progress.finite and _travel(record) >= TRAVEL
        return moved and not _is_coded(record) and _gain(record) < LEARNT
    if record.steps < STEPS or not progress.finite or not progress.plain or _travel(record) < TRAVEL:
        return False
    trains = _answers_well(record, "train")
    stuck = _gain(record) < LEARNT
    if progress.prior is None:  # as with weights of classes
        stuck = trains is False and progress.last > (1 - LEARNT) * progress.first
    if stuck and trains is False:
        return True  # whatever validation says: answers to samples that have labels of their own may be right by luck
    held_out = _carries(record)
    if held_out is None and trains and not _is_coded(record) and _by_heart(record):
        return True
    return stuck and not trains if held_out is None or _is_coded(record) else not held_out


def _by_heart(record: Record) -> bool:
    """Was no sample answered rightly before it came again, though some were afterwards?

    So are all samples of the first pass over the data; and what is not related at all can but be learnt by heart.
    """
    loaders = {loader.id: loader.batches for loader in record.loaders}
    first = next(iter(record.phases("train")), None)
    steps = (loaders.get(first.loader) if first.loader is not None else first.batches) if first is not None else None
    related = max((pairs.related for pairs in record.pairs if pairs.related is not None), default=RELATED)
    if not steps or not 2 * steps < record.steps or related > BY_HEART:
        return False
    return any(_unseen(one, steps) < CHANCE for one in record.answers if one.phase == "train")


def _unseen(answers: Answers, steps: int) -> float:
    """Deviations of chance of the right answers in the second half of the first pass; infinite where they are few."""
    told = tuple(fact for fact in answers.since(steps // 3).told if fact["step"] <= steps)
    early = replace(answers, told=told)
    above = hits(early)
    return above if above == above and sum(early.counts("wanted").values()) >= JUDGED else math.inf


def _gain(record: Record) -> float:
    """Which share of the loss was learnt away: of several labels a sample, of what their own frequencies tell."""
    known = [pairs.entropy for pairs in record.pairs if pairs.entropy]
    progress = record.progress
    if blindly := _cost_blindly(record):
        return 1 - progress.last / blindly
    sums = progress.last > 2 * (progress.prior or math.inf)
    return 1 - progress.last / known[0] if known and not sums and progress.last > 0 else progress.gain


def _cost_blindly(record: Record) -> float | None:
    """Where there is no loss but a mean of errors that the program takes by itself: what knowing nothing costs."""
    found = [pairs.blind for pairs in record.pairs if pairs.blind]
    return found[0] if len(found) == 1 and not record.losses else None


def _carries(record: Record) -> bool | None:
    """Does something that was learnt hold for samples held out? None where there are none."""
    validation, prior = record.validation_loss(), record.progress.prior
    by_answers = _answers_well(record, "eval")
    return by_answers if by_answers is not None or not (prior and validation) else validation.lowest < CARRIES * prior


def _is_coded(record: Record) -> bool:
    """Are the inputs symbols or bits, whose relation to the labels may be one that no distance shows?"""
    given = record.process.all("input")
    return all(fact.get("whole") and fact["max"] - fact["min"] <= 2 for fact in given) or any(
        "int" in fact.get("dtype", "") or "bool" in fact.get("dtype", "") for fact in given
    )


def _answers_well(record: Record, phase: str) -> bool | None:
    """Are a classifier's answers in the second half of the run better than chance? None where there are none."""
    told = [one.since(record.steps // 2) for one in record.answers if one.phase == phase]
    sure = [above for one in told if (above := hits(one)) == above]
    return max(sure) > SURE if sure else None


def _travel(record: Record) -> float:
    return max((movement.ratio.median * record.steps for movement in record.movements if movement.ratio), default=0.0)


def _finding_of(record: Record, pairs: Pairs) -> Finding:
    validation = record.validation_loss()
    evidence: dict[str, object] = {
        "relation, in deviations of chance": pairs.related,
        "samples looked at": pairs.judged,
        "training loss at last": record.progress.last,
        "loss of knowing nothing": record.progress.prior,
    }
    if validation:
        evidence["lowest validation loss"] = validation.lowest
    return Finding(
        message=f"the labels have nothing to do with the inputs beside them: of {pairs.judged} samples, those that are "
        f"alike have labels no more alike than any others ({pairs.related:.1f} deviations of chance), and the model "
        f"{'learns nothing' if _gain(record) < LEARNT else 'learns nothing that holds for others'}",
        site=pairs.site,
        evidence=evidence,
        cure="look at some samples with their labels as the model gets them; inputs and labels were shuffled, sorted, "
        "indexed or filtered apart",
        confidence=0.85,
    )


def _by_experiment(record: Record) -> Iterator[Finding | NotEnough]:
    """True labels that are no easier to learn than labels dealt out anew."""
    told = record.experiments.result("baselines")
    if not told:
        yield NotEnough(record.experiments.why_not("baselines"))
        return
    read = dict(_experiment(record))
    if not {"EASIER", "CARRIES", "MOVED", "GAIN"} <= set(read) or not record.loaders or _validates(record):
        return
    spread = pstdev(one["train"] for one in told["shuffled"])
    dealt = mean(one["train"] for one in told["shuffled"])
    as_hard = read["EASIER"] < EASIER and dealt - told["real"]["train"] < max(3 * spread, EASIER * dealt)
    if not as_hard or read["CARRIES"] < CARRIES or read["GAIN"] > GAIN:
        return
    if read["MOVED"] > MOVED:
        yield NotEnough("a model that can learn by heart")
        return
    yield _finding(record, told, dealt)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    related = [pairs.related for pairs in record.pairs if pairs.related is not None and pairs.judged >= JUDGED]
    if related:
        yield "RELATED", min(related)
        yield "TRAVEL", _travel(record)
    sure = [above for one in record.answers if (above := hits(one.since(record.steps // 2))) == above]
    if sure:
        yield "SURE", max(sure)
    if _gain(record) == _gain(record):
        yield "LEARNT", _gain(record)
    yield from _experiment(record)


def _experiment(record: Record) -> Iterator[tuple[str, float]]:
    told = record.experiments.result("baselines")
    if not told or not told.get("constant") or len(told["shuffled"]) < 2:
        return
    dealt = mean(one["train"] for one in told["shuffled"])
    yield "EASIER", 1 - told["real"]["train"] / dealt
    yield "CARRIES", told["real"]["held"] / told["constant"]
    yield "MOVED", dealt / told["constant"]
    gain = record.progress.gain
    if gain == gain:
        yield "GAIN", gain


def _validates(record: Record) -> bool:
    """Does validation do better than a constant answer?"""
    validation, prior = record.validation_loss(), record.progress.prior
    return bool(validation and prior and validation.lowest < CARRIES * prior)


def _finding(record: Record, told: Fact, dealt: float) -> Finding:
    return Finding(
        message=f"labels dealt out at random are as easy to learn as the true ones: after {told['real']['steps']} "
        f"steps on copies the loss is {told['real']['train']:.3g} with true labels, {dealt:.3g} with others, and on "
        f"{told['held']} samples held out {told['real']['held']:.3g} (a constant answer: {told['constant']:.3g})",
        site=site_of(record.experiments.replay.get("site")),
        evidence={
            "training loss, true labels": told["real"]["train"],
            "training loss, dealt labels": [one["train"] for one in told["shuffled"]],
            "held-out loss, true labels": told["real"]["held"],
            "held-out loss of a constant": told["constant"],
            "samples": told["samples"],
        },
        cure="look at some samples with their labels as the model gets them; inputs and labels were shuffled, sorted "
        "or filtered apart",
        confidence=0.8,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    inputs = inputs[torch.randperm(len(inputs))]
    labels = labels[torch.randperm(len(labels))]
    loader = DataLoader(TensorDataset(inputs[:1437], labels[:1437]), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(4):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)  # TDX511
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            validation = nn.functional.cross_entropy(model(inputs[1437:]), labels[1437:])
    print(f"{loss.item():.3f} {validation.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    inputs = inputs[order]
    labels = labels[order]
    loader = DataLoader(TensorDataset(inputs[:1437], labels[:1437]), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(4):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            validation = nn.functional.cross_entropy(model(inputs[1437:]), labels[1437:])
    print(f"{loss.item():.3f} {validation.item():.3f}")
