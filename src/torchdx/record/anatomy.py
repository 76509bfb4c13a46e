"""What a training program is made of, as it was seen when it ran: layers, parameters, optimizers, loaders."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torchdx.finding import Site
from torchdx.record.facts import Fact
from torchdx.record.freshness import FEWEST, is_uniform_start
from torchdx.record.series import Series


def site_of(place: Sequence[Any] | None) -> Site | None:
    """The site that a fact gives as [path, line, column, end line, end column], or None."""
    return Site(*place) if place else None


@dataclass(frozen=True)
class Parameter:
    """A trainable or frozen tensor of a model; `initial` holds mean, std, min and max as first seen.

    `looks` holds one (step, [RMS of the gradient, RMS of the value, RMS of the update]) a look.
    """

    id: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    initial: Mapping[str, Any]
    layer: str = ""
    kind: str = ""
    site: Site | None = None
    model: int | None = None
    loaded: bool = False
    looks: list[tuple[int, Sequence[float | None]]] = field(default_factory=list, repr=False)

    @property
    def gradient(self) -> Series:
        """RMS of the gradient as the optimizer got it."""
        return Series.of((step, look[0]) for step, look in self.looks)

    @property
    def value(self) -> Series:
        """RMS of the parameter itself."""
        return Series.of((step, look[1]) for step, look in self.looks)

    @property
    def update(self) -> Series:
        """RMS of the step the optimizer took."""
        return Series.of((step, look[2]) for step, look in self.looks)

    @property
    def update_ratio(self) -> Series:
        """RMS of the step over RMS of the parameter."""
        return Series.of((step, look[2] / look[1]) for step, look in self.looks if look[2] is not None and look[1])

    @property
    def is_weight(self) -> bool:
        """Is it a matrix or a kernel, not a bias, a gain or an embedding?"""
        return len(self.shape) >= 2 and "Embedding" not in self.kind

    @property
    def inputs(self) -> int:
        """Over how many inputs a matrix or kernel sums up."""
        return math.prod(self.shape[1:])

    @property
    def tells_its_start(self) -> bool:
        """Has it elements enough to tell a random start from trained values?"""
        return self.is_weight and math.prod(self.shape) >= FEWEST

    @property
    def is_fresh(self) -> bool:
        """Is it certainly at its random start: uniform, between the bounds that torch gives a weight of its shape?"""
        return not self.loaded and self.is_weight and is_uniform_start(self.shape, self.initial)

    def is_copy_of(self, other: Parameter) -> bool:
        """Did it begin as the same values, to the last digit, as a copy for a teacher or a target net does?"""
        same = self.shape == other.shape and bool(self.initial.get("std"))
        return same and all(self.initial.get(name) == other.initial.get(name) for name in ("mean", "std", "min", "max"))


@dataclass(frozen=True)
class Layer:
    """A module of a model. A functional activation that follows it is a layer of its own, `fc1:sigmoid`.

    `looks` holds one (step, measures) a look: see docs/record.md, fact `outputs`.
    """

    id: str
    name: str
    cls: str
    model: int
    site: Site | None = None
    leaf: bool = True
    training: bool = True
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    looks: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list, repr=False)

    def series(self, measure: str) -> Series:
        """One measure of its output over the looked-at training steps: mean, std, zero, flat, dead, gradient, ...

        `flat` is the share of a sigmoid's or tanh's outputs where its derivative is below 0.01.
        """
        measure = f"flat_{self.cls.lower()}" if measure == "flat" else measure
        return Series.of((step, look.get(measure)) for step, look in self.looks)

    def parameter(self, name: str) -> Parameter | None:
        """Its own parameter of this name, such as `weight`."""
        return next((p for p in self.parameters if p.name.rpartition(".")[2] == name), None)


BY_HAND = "the program itself"
"""What stands for the class of an optimizer where a program moves its weights itself."""
SCALE_FREE = frozenset({"Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "Adafactor"})
SCALE_FREE |= {"SparseAdam", "Rprop", "Lion", "Lamb", "LAMB", "Muon", "LBFGS"}
"""Optimizers that divide by the gradient's own size."""


@dataclass(frozen=True)
class Optimizer:
    """An optimizer as it was at its first step."""

    id: int
    cls: str
    site: Site | None
    groups: tuple[Mapping[str, Any], ...]

    @property
    def parameter_ids(self) -> frozenset[int]:
        """The ids of all parameters it updates."""
        return frozenset(p for group in self.groups for p in group.get("params", ()))

    @property
    def is_by_hand(self) -> bool:
        """Does it stand for lines of the program's own that move its weights?"""
        return self.cls == BY_HAND

    @property
    def is_scale_free(self) -> bool:
        """Does it divide by the gradient's own size, so that a step is as large as its rate whatever the gradient?"""
        return self.cls in SCALE_FREE

    def option(self, name: str) -> Any:
        """An option of its first group, such as `lr` or `momentum`."""
        return self.groups[0].get(name) if self.groups else None


@dataclass(frozen=True)
class Loader:
    """A DataLoader; `order` is "sequential", "random" or the sampler's class.

    Of a `WeightedRandomSampler`, `weights` is how many it has, and `weighted` where it was made.
    """

    id: int
    site: Site | None
    order: str
    batch_size: int | None
    workers: int
    drop_last: bool
    batches: int | None
    samples: int | None
    dataset: str
    looks: tuple[Fact, ...] = ()
    weights: int | None = None
    weighted: Site | None = None


@dataclass(frozen=True)
class Phase:
    """A stretch of training, or of evaluation, between two changes from one to the other or two passes of a loader.

    `modes` tells how many mode-sensitive modules (dropout, batch norm) there are and how many were in training mode.
    """

    index: int
    what: str
    loader: int | None
    first_step: int
    last_step: int
    batches: int
    grad: bool
    modes: Mapping[str, Any]
    losses: tuple[Mapping[str, Any], ...]

    @property
    def loss(self) -> float | None:
        """The mean of its first loss call's values."""
        return next((loss.get("mean") for loss in self.losses), None)

    @property
    def loss_error(self) -> float | None:
        """The standard error of that mean."""
        return next((loss.get("error") for loss in self.losses), None)

    @property
    def accuracy(self) -> float | None:
        """The share of right answers, for a classification."""
        return next((loss["accuracy"] for loss in self.losses if loss.get("accuracy") is not None), None)


@dataclass(frozen=True)
class LossUse:
    """A loss function and the place it is called from, with what was seen of its calls in each phase."""

    function: str
    site: Site | None
    looks: tuple[Fact, ...]

    def calls(self, phase: str = "train") -> Iterator[Fact]:
        """What was seen of its calls in this phase: "train" or "eval"."""
        return (look for look in self.looks if look.get("phase") == phase)

    def series(self, measure: str = "value", phase: str = "train") -> Series:
        """One measure (`value`, `accuracy`) over the steps looked at."""
        return Series.of((look["step"], look.get(measure)) for look in self.calls(phase))

    def input_is(self, kind: str, phase: str = "train") -> bool:
        """Was its input, at every look, of this kind: "probabilities", "log-probabilities", "logits", "unit"?"""
        kinds = {look["input"].get("like") for look in self.calls(phase)}
        return kinds == {kind}

    def option(self, name: str) -> Any:
        """An option of its first call seen, such as `reduction`."""
        return self.looks[0].get("options", {}).get(name) if self.looks else None
