"""In evaluation the model gets inputs of another scale than those it was trained on.

Seen as a validation loss that is bad from the first evaluation on, while the training loss falls. Measured are the mean
and the deviation of what the model, or its loader, was given in training and in evaluation; or the source says that
one part of the data is scaled by its own mean, or that the scaler is fitted to it anew.

Hurts because weights are learnt for inputs of one scale: on others, each layer's sums are too small or too large, or
all lie on one side, and the answers are of another model than the one that was trained.

Helped by the same transform for both: take mean and deviation, or the greatest value, from the training data alone, and
use these numbers for all data.

No fault when the scale is about the same, as with augmentation; nor when evaluation goes as well as training all the
same. Where it has no loss by which that could be told, only another unit altogether is: raw bytes beside scaled ones,
or numbers that were but divided beside standardised ones.

Sources: scikit-learn documentation, "Common pitfalls: inconsistent preprocessing"; PyTorch documentation, transfer
learning tutorial, which normalises both sets by the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from torchdx.finding import Finding, Site
from torchdx.record import site_of
from torchdx.source.own_scales import scaled_apart

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program

code, family, severity = "TDX519", "data", "warning"
needs = frozenset({"step"})
explains = frozenset({"validation-gap", "overfitting", "train-eval-gap"})

RATIO = 2.0
"""Deviation in training over that in evaluation, or the other way round. Healthy programs: 1.07 at most (48 that tell);
sick ones 4.5 (divided by their greatest values), 6 and 210 (left raw)."""
SHIFT = 1.5
"""Distance of the means, in deviations of the training data. Healthy programs: 0.19 at most; sick ones 0.4, 4.8, 68."""
CARRIES_OVER = 0.5
"""Share of what was learnt that the evaluation's loss must lack: the examination's own bound. Healthy programs: 0.25 at
most; sick ones 2.6 and more."""
UNIT = 10.0
"""Deviation in evaluation over that in training, shifted as well, beyond which a model whose evaluation has no loss is
given numbers in another unit. Healthy programs: 0, as none is shifted so; a sick one 32, shifted by 96 (raw bytes)."""
NARROW, APART, LIKE = 4.0, 5.0, 1.5
"""Deviation in training over that in evaluation; and distance of the means in deviations that are alike, one at most so
many times the other: from these on inputs are of another scale where evaluation has no loss, and is of whole batches of
several columns. Healthy programs (30): 1.08, 0.17; a sick one 14.7 (divided by 255 alone)."""
BATCH = 16
"""Samples of such a batch: the first states of a game, one by one, may well be alike."""
BATCHES = 2
"""Batches of training that must have been seen."""

Scale = tuple[float, float]
"""Mean and deviation."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every part of the data that is scaled by its own numbers, where another part is scaled by others."""
    for part in scaled_apart(program):
        yield Finding(
            message=f"`{' '.join(part.file.text_of(part.node).split())[:60]}` scales `{part.name}` by numbers of its "
            f"own, and not by those that `{part.other}` was scaled by",
            site=part.file.site(part.node),
            cure=f"scale it by the mean and deviation of `{part.other}` (`transform`, not `fit_transform`)",
            confidence=0.8,
        )
        return


def in_run(record: Record) -> Iterator[Finding]:
    """Inputs whose scale differs, where evaluation goes badly, or where they are in another unit altogether."""
    if _goes_badly(record):
        for trained, tested, site in _pairs(record):
            ratio, shift = _ratio(trained, tested), _shift(trained, tested)
            if ratio > RATIO or shift > SHIFT:
                # data that drift with time shift as well
                yield _finding(
                    trained, tested, site, record.validation_loss().finite.last, 0.9 if ratio > RATIO else 0.75
                )
                return
    if not record.validation_loss().finite:
        for trained, tested, site in _nearest(record):
            if _unit(trained, tested) > UNIT or _is_other(trained, tested, _batches(record)):
                yield _finding(trained, tested, site, None, 0.8)
                return


def _finding(trained: Scale, tested: Scale, site: Site | None, loss: float | None, confidence: float) -> Finding:
    return Finding(
        message=f"inputs have mean {trained[0]:.3g} and deviation {trained[1]:.3g} in training, but "
        f"{tested[0]:.3g} and {tested[1]:.3g} in evaluation"
        + ("" if loss is None else f", where the loss is {loss:.3g}"),
        site=site,
        evidence={"mean and deviation in training": trained, "in evaluation": tested},
        cure="scale the inputs of the evaluation by the very numbers that those of training were scaled by",
        confidence=confidence,
    )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    pairs = list(_pairs(record))
    if pairs:
        yield "RATIO", max(_ratio(trained, tested) for trained, tested, _ in pairs)
        yield "SHIFT", max(_shift(trained, tested) for trained, tested, _ in pairs)
        yield "CARRIES_OVER", _lacking(record)
    if not record.validation_loss().finite and (units := [_unit(one, other) for one, other, _ in _nearest(record)]):
        yield "UNIT", max(units)
        if _batches(record):
            yield "NARROW", max(_narrow(one, other) for one, other, _ in _nearest(record))
            yield "APART", max(_shift(one, other) for one, other, _ in _nearest(record))


def _goes_badly(record: Record) -> bool:
    return _lacking(record) > CARRIES_OVER


def _lacking(record: Record) -> float:
    """The share of what training learnt away that the evaluation's loss has not; 0 if that is not known."""
    progress, validation = record.progress, record.validation_loss().finite
    training = record.training_loss().finite.last
    scale = progress.prior or progress.first
    learnt = scale - training
    if not validation or not learnt > 0.02 * abs(scale):
        return 0.0
    return (validation.last - training) / learnt


def _pairs(record: Record) -> Iterator[tuple[Scale, Scale, Site | None]]:
    """The scales of what was given in training and in evaluation: to one model, or by loaders of the same shape."""
    used = {phase.loader for phase in record.phases("train")}
    loaders = [(loader, _first(record, loader.id)) for loader in record.loaders]
    for _, train in [pair for pair in loaders if pair[0].id in used and pair[1]]:
        for loader, test in [pair for pair in loaders if pair[0].id not in used and pair[1]]:
            one, other = _scale(train, BATCHES), _scale(test, 1)
            if one and other and train[0]["shape"][1:] == test[0]["shape"][1:] and len(train[0]["shape"]) > 1:
                yield one, other, loader.site
    given, tested = record.process.all("input"), record.process.all("evaluated")
    for module in dict.fromkeys(fact["module"] for fact in tested):
        one = _scale([fact for fact in given if fact["module"] == module], BATCHES)
        other = _scale([fact for fact in tested if fact["module"] == module], 1)
        if one and other:
            yield one, other, site_of(next(fact["site"] for fact in tested if fact["module"] == module))


def _nearest(record: Record) -> Iterator[tuple[Scale, Scale, Site | None]]:
    """The same for one model, with the one of its evaluations that is nearest to training."""
    given, tested = record.process.all("input"), record.process.all("evaluated")
    for module in dict.fromkeys(fact["module"] for fact in tested):
        one = _scale([fact for fact in given if fact["module"] == module], BATCHES)
        looks = [(_scale([fact], 1), site_of(fact["site"])) for fact in tested if fact["module"] == module]
        scales = [(other, site) for other, site in looks if other]
        if one and len(scales) == len(looks):
            yield one, *min(scales, key=lambda pair: _unit(one, pair[0]))


def _first(record: Record, loader: int) -> list[Mapping[str, Any]]:
    """The first tensor of each of a loader's batches that were told of."""
    told = [fact["tensors"] for fact in record.process.all("batch") if fact["loader"] == loader]
    return [tensors[0] for tensors in told if tensors]


def _scale(facts: Sequence[Mapping[str, Any]], least: int) -> Scale | None:
    """The usual mean and deviation; None for what is not floating-point, not finite, or seen too seldom."""
    floats = [f for f in facts if "float" in str(f.get("dtype")) and math.isfinite(f.get("std") or math.nan)]
    if len(floats) < max(1, least) or any(fact.get("whole") for fact in floats):
        return None
    return median(fact["mean"] for fact in floats), median(fact["std"] for fact in floats)


def _ratio(trained: Scale, tested: Scale) -> float:
    low, high = sorted((trained[1], tested[1]))
    return high / low if low > 0 else 1.0


def _unit(trained: Scale, tested: Scale) -> float:
    """How many times wider the inputs of the evaluation are; 0 if they are not shifted: anomalies are wider as well."""
    return tested[1] / trained[1] if trained[1] > 0 and _shift(trained, tested) > SHIFT else 0.0


def _narrow(trained: Scale, tested: Scale) -> float:
    return trained[1] / tested[1] if tested[1] > 0 else 0.0


def _is_other(trained: Scale, tested: Scale, batches: bool) -> bool:
    """Is it narrower, or as wide and somewhere else?"""
    apart = _ratio(trained, tested) < LIKE and _shift(trained, tested) > APART
    return batches and (_narrow(trained, tested) > NARROW or apart)


def _batches(record: Record) -> bool:
    """Is a model evaluated more than once, and always on whole batches of several columns?"""
    shapes = [fact.get("shape", ()) for fact in record.process.all("evaluated")]
    return len(shapes) > 1 and all(shape[:1] >= [BATCH] and math.prod(shape[1:]) > 1 for shape in map(list, shapes))


def _shift(trained: Scale, tested: Scale) -> float:
    return abs(trained[0] - tested[0]) / trained[1] if trained[1] > 0 else 0.0


def sick() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    features, labels = torch.tensor(cancer.data).float(), torch.tensor(cancer.target)
    train = (features[:400] - features[:400].mean(0)) / features[:400].std(0)
    loader = DataLoader(TensorDataset(train, labels[:400]), batch_size=40, shuffle=True)
    tests = DataLoader(TensorDataset(features[400:] / features.amax(0), labels[400:]), batch_size=85)  # TDX519
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(12):
        model.train()
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            total = sum(nn.functional.cross_entropy(model(batch), wanted).item() for batch, wanted in tests)
    print(f"{loss.item():.3f} {total / 2:.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    features, labels = torch.tensor(cancer.data).float(), torch.tensor(cancer.target)
    scaled = (features - features[:400].mean(0)) / features[:400].std(0)
    loader = DataLoader(TensorDataset(scaled[:400], labels[:400]), batch_size=40, shuffle=True)
    tests = DataLoader(TensorDataset(scaled[400:], labels[400:]), batch_size=85)
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(12):
        model.train()
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            total = sum(nn.functional.cross_entropy(model(batch), wanted).item() for batch, wanted in tests)
    print(f"{loss.item():.3f} {total / 2:.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs, targets = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(10):
        for rows in torch.randperm(1500).split(60):
            pictures = inputs[rows] * torch.rand(len(rows), 1).add(0.5) + 0.1 * torch.randn(len(rows), 64)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(pictures), targets[rows])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            held_out = nn.functional.cross_entropy(model(inputs[1500:]), targets[1500:])
        model.train()
    print(f"{loss.item():.3f} {held_out.item():.3f}")
