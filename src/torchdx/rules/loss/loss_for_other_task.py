"""A loss over several classes is given one score, or one for each class by itself is given shares that sum to 1.

Seen as a loss that is exactly 0 from the first step on, or as "Target 1 is out of bounds".

Hurts because `cross_entropy` divides by the sum over all classes: with one class the probability is exp(x) / exp(x),
which is 1 whatever the score, so the loss is 0, the gradient is 0, and nothing is learnt. `binary_cross_entropy` takes
each class by itself, as where several may be true at once; after a softmax one can only rise where another falls. A
squared error has outputs that go beyond 0 and 1 brought back, however right they are. A binary cross entropy of targets
beyond 0 and 1 has no least value: the score is driven to infinity. Margin losses tell the classes by the target's sign,
and a target of 0 is on no side.

Helped by `binary_cross_entropy_with_logits` (`BCEWithLogitsLoss`) for one score, with targets of its shape in floating
point; or by as many outputs as there are classes; for one class out of several by `cross_entropy` on the logits;
for targets that are any numbers by `mse_loss`; for a margin by targets of -1 and 1.

No fault when the scores of several candidates, one each, are brought side by side before the loss.

Sources: PyTorch documentation, `torch.nn.CrossEntropyLoss` and `torch.nn.BCELoss`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source.endings import LINEAR
from torchdx.source.losses import exchanged
from torchdx.source.ranks import KEEPING, rank_of
from torchdx.source.values import Result, Value, literal
from torchdx.source.walks import walk

if TYPE_CHECKING:
    from torchdx.record import Fact, Record
    from torchdx.record import LossUse as Measured
    from torchdx.source import LossUse, Program

code, family, severity = "TDX612", "loss", "error"
needs = frozenset({"loss"})
explains = frozenset(
    {
        *("not-learning", "vanishing-gradient", "learning-rate-too-low", "learning-rate-too-high", "loss-bounces"),
        *("parameter-unchanged", "exploding-gradient"),
    }
)

BINARY = (
    "use BCEWithLogitsLoss, with targets in floating point and of the same shape; or give the layer as many outputs as "
    "there are classes"
)
SHARED = "where one class is true, use cross_entropy on the logits; where several may be, a sigmoid"

NO_WHOLE = 0.5
"""How far from 1 the sum of targets is that are surely no probabilities of classes; smoothed ones sum to 1 exactly."""

CRISP = 1e-4
"""Variance of targets beside that of ones and zeros in the same mixture; it is equal where they are nothing else."""

BEYOND = 0.01
"""How far a target of a binary cross entropy is below 0 or above 1 that is no rounding: of 60 healthy programs none has
one by 0.000001, and a sick one's were at -2.1 and 2.2."""

SIGNED = ("soft_margin_loss", "hinge_embedding_loss")
"""Losses whose targets are -1 and 1."""

LAYERS = ("Linear", "Conv1d", "Conv2d", "Conv3d")


def in_source(program: Program) -> Iterator[Finding]:
    """Every cross entropy of a single score, and every binary one of a softmax."""
    for use in program.losses("cross_entropy"):
        layers = _single(use.input.value) if use.input is not None else ()
        if layers and not any(_is_flat(layer) is False for layer in layers):
            yield _of_one(use, layers)
    for use in program.losses("binary_cross_entropy"):
        if use.ending.operation == "softmax":
            place = use.ending.by[0].home.site
            yield Finding(
                message="`binary_cross_entropy` judges each class by itself, and a softmax "
                f"({place.seen_from(use.site.path)}) has made them share one whole",
                site=use.site,
                evidence={"operation": "softmax", "operation_at": str(place)},
                cure=SHARED,
                confidence=0.8,
                severity="note",
            )


def in_run(record: Record) -> Iterator[Finding]:
    """Every loss whose arguments, each time it was seen, were those of another one."""
    for use in record.losses_called("cross_entropy"):
        yield from _of_cross_entropy(use, list(use.calls()))
    for use in record.losses_called("binary_cross_entropy"):
        if _made_by(use) == {"SoftmaxBackward0"}:
            yield Finding(
                message="`binary_cross_entropy` judges each class by itself, and a softmax has made them share one "
                "whole",
                site=use.site,
                evidence={"operation": "softmax"},
                cure=SHARED,
                confidence=0.8,
                severity="note",
            )
    yield from _out_of_range(record)
    for use in record.losses_called("mse_loss"):
        looks = list(use.calls())
        if len(looks) > 1 and _made_by(use) == {"AddmmBackward0"} and all(map(_is_yes_or_no, looks)):
            yield Finding(
                message="`mse_loss` holds the outputs of a linear layer, which may be any numbers, against targets "
                "that are 0 or 1: an answer that is right and sure, such as 3, is punished as a wrong one",
                site=use.site,
                evidence={"target shape": str(tuple(looks[0]["target"]["shape"])), "looks": len(looks)},
                cure="use BCEWithLogitsLoss where several may be true, cross_entropy where one is",
                confidence=0.75,
                severity="note",
            )


def _out_of_range(record: Record) -> Iterator[Finding]:
    """Every loss whose targets, at each look, are no labels that it knows."""
    for use in record.losses_called("binary_cross_entropy", "binary_cross_entropy_with_logits"):
        looks = list(use.calls())
        if looks and min(map(_beyond, looks)) > BEYOND and not _may_be_masked(use, looks):
            low, high = (pick(look["target"][pick.__name__] for look in looks) for pick in (min, max))
            yield Finding(
                message=f"the targets of `{use.function}` go from {low:.3g} to {high:.3g}, and it is for ones from 0 to"
                " 1: beyond them it has no least value, and drives the scores on for ever",
                site=use.site,
                evidence={"least target": low, "greatest target": high, "looks": len(looks)},
                cure="use mse_loss where the targets are any numbers, or bring them to between 0 and 1",
                confidence=0.95,
                severity="warning",
            )
    for use in record.losses_called(*SIGNED):
        looks = list(use.calls())
        least = [look["target"].get("min", math.nan) for look in looks]
        if 0.0 in least and all(one in (0.0, 1.0) for one in least):
            yield Finding(
                message=f"`{use.function}` wants targets of -1 and 1, and is given zeros for -1: on which side "
                "those are it does not say, and nothing is learnt from them",
                site=use.site,
                evidence={"least target": 0.0, "looks": len(looks)},
                cure="give it 2 * target - 1, or take BCEWithLogitsLoss, which wants 0 and 1",
                confidence=0.97,
            )


def _beyond(look: Fact) -> float:
    target = look["target"]
    return float(max(-target.get("min", 0.0), target.get("max", 0.0) - 1))


def _may_be_masked(use: Measured, looks: Sequence[Fact]) -> bool:
    """Might a whole number beyond 0 and 1 mark what is unknown, and be weighed with 0 afterwards, or by a weight?"""
    ends = [look["target"][end] for look in looks for end in ("min", "max")]
    told = use.option("weight") is not None or use.option("reduction") == "none"
    return told and all(float(end).is_integer() for end in ends)


def _of_cross_entropy(use: Measured, looks: Sequence[Fact]) -> Iterator[Finding]:
    """One column that was 0 each time, one sample of many classes, or several that are true at once."""
    if not looks:
        return
    shape = tuple(looks[0]["input"].get("shape", ()))
    if all(_has_one_column(look) and look.get("value") == 0 for look in looks):
        yield Finding(
            message=f"`cross_entropy` is given one score a sample: over one class the probability is always 1, and "
            f"the loss was exactly 0 at all {len(looks)} looks",
            site=use.site,
            evidence={"outputs": 1, "input shape": str(shape), "looks": len(looks)},
            cure=BINARY,
            confidence=0.99,
        )
    if all(_is_several_true(look) for look in looks):
        yield Finding(
            message="`cross_entropy` is for one class of several, and in its targets several are true at once, or "
            "none: the softmax lets one score rise only where others fall",
            site=use.site,
            evidence={"target shape": str(shape), "looks": len(looks)},
            cure="use BCEWithLogitsLoss, which takes each class by itself",
            confidence=0.9,
            severity="warning",
        )
    if all(_is_one_sample(look) for look in looks) and any(_total_is_off(look) for look in looks):
        yield Finding(
            message=f"`cross_entropy` is given one score a sample, in shape {shape}, and takes them for {shape[0]} "
            "classes of a single sample: a softmax along the batch, and targets that are no distribution",
            site=use.site,
            evidence={"input shape": str(shape), "sum of the targets": _total(looks[0]), "looks": len(looks)},
            cure=BINARY,
            confidence=0.98,
        )


def _is_yes_or_no(look: Fact) -> bool:
    """Are the targets, several for each sample, all 0 or 1?"""
    target, shape = look["target"], look["target"].get("shape", ())
    mean, std = target.get("mean", math.nan), target.get("std", math.nan)
    table = len(shape) == 2 and shape[1] > 1 and "float" in target.get("dtype", "")
    return bool(table and target.get("min") == 0 and target.get("max") == 1 and abs(mean - mean**2 - std**2) < CRISP)


def _is_several_true(look: Fact) -> bool:
    """Are the targets 0 or 1, and no distribution over the classes, smoothed or mixed?"""
    return _is_yes_or_no(look) and look["target"].get("like") == "unit"


def _has_one_column(look: Fact) -> bool:
    shape = look["input"].get("shape", ())
    return len(shape) > 1 and shape[1] == 1 and shape[0] > 1


def _is_one_sample(look: Fact) -> bool:
    """Are scores and targets, in floating point, of one dimension alone? It is that of the classes then."""
    shape, target = look["input"].get("shape", ()), look["target"]
    return len(shape) == 1 and shape[0] > 1 and target.get("shape") == shape and "float" in target.get("dtype", "")


def _total(look: Fact) -> float:
    return float(look["target"].get("mean", math.nan) * math.prod(look["target"]["shape"]))


def _total_is_off(look: Fact) -> bool:
    """Are the targets something else than the probabilities of the classes?"""
    return abs(_total(look) - 1) > NO_WHOLE


def _made_by(use: Measured) -> set[object]:
    return {look["input"].get("made_by") for look in use.calls()}


def _is_flat(layer: Result) -> bool | None:
    """Is its one output that of the dimension of classes? A linear layer's is so in one dimension, or two."""
    rank = rank_of(layer) if layer.dotted.endswith("Linear") else 2
    return None if rank is None else rank <= 2


def _of_one(use: LossUse, layers: tuple[Result, ...]) -> Finding:
    layer = layers[0]
    home = layer.home
    proven = all(_is_flat(one) for one in layers)
    return Finding(
        message=f"`cross_entropy` is given one score (`{home.text[:40]}`, {home.site.seen_from(use.site.path)}): over "
        "one class the probability is always 1, and the loss 0",
        site=use.site,
        evidence={"outputs": 1, "layer_at": str(home.site)},
        cure=BINARY,
        confidence=0.95 if proven else 0.85,
        severity=None if proven else "warning",
    )


@walk(())
def _single(value: Value) -> tuple[Result, ...]:
    """The layers with one output that the value certainly comes out of, its shape as they left it."""
    found: list[Result] = []
    for choice in value.alternatives():
        if not isinstance(choice, Result):
            return ()
        last = choice.dotted.rpartition(".")[2]
        if LINEAR.match(choice.dotted):
            inner = [choice] if last in LAYERS and _outputs(choice) == 1 else []
        else:
            inner = list(_single(choice.input)) if last in KEEPING else []
        if not inner:
            return ()
        found += inner
    return tuple(found)


def _outputs(layer: Result) -> object | None:
    home = layer.module.call if layer.module is not None else None
    place = 1
    name = "out_features" if layer.dotted.endswith("Linear") else "out_channels"
    return literal(home.argument_value(place, name)) if home is not None else None


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Take the binary loss, which is meant for one score."""
    if "outputs" in finding.evidence:
        for use in program.losses("cross_entropy"):
            if use.site == finding.site:
                title = "take the binary cross entropy"
                found = exchanged(use, "BCEWithLogitsLoss", "binary_cross_entropy_with_logits", title)
                if found is not None:
                    yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn

    class Net(nn.Module):
        def __init__(self, features: int) -> None:
            super().__init__()
            self.hidden = nn.Linear(features, 32)
            self.out = nn.Linear(32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score: torch.Tensor = self.out(torch.relu(self.hidden(x.flatten(1))))
            return score

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target, dtype=torch.float32).unsqueeze(1)
    model, loss_of = Net(30), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])  # TDX612
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn

    class Net(nn.Module):
        def __init__(self, features: int) -> None:
            super().__init__()
            self.hidden = nn.Linear(features, 32)
            self.out = nn.Linear(32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score: torch.Tensor = self.out(torch.relu(self.hidden(x.flatten(1))))
            return score

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target, dtype=torch.float32).unsqueeze(1)
    model, loss_of = Net(30), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from torch import nn

    class Chooser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(6, 32)
            self.score = nn.Linear(32, 1)

        def forward(self, candidates: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.score(torch.relu(self.hidden(candidates)))
            return scores.squeeze(-1)

    torch.manual_seed(0)
    candidates = torch.randn(1024, 5, 6)
    best = candidates.sum(-1).argmax(1)
    model = Chooser()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(10):
        for rows in torch.randperm(len(candidates)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(candidates[rows]), best[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
