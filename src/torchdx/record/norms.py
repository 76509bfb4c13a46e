"""Batch normalisation as it was used: over how many values, in which mode, and with how ready statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torchdx.record.anatomy import Layer

if TYPE_CHECKING:
    from torchdx.record import Record

Told = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Norm:
    """A layer of batch normalisation, and what was told of it at each (step) in training and in evaluation."""

    layer: Layer
    training: Sequence[Told] = field(default=(), repr=False)
    evaluations: Sequence[Told] = field(default=(), repr=False)

    @property
    def batch(self) -> int:
        """The most samples it ever normalised together."""
        return max((told["batch"] for _, told in self.training), default=0)

    @property
    def values(self) -> int:
        """The most values of one channel that it ever normalised together: samples times places."""
        return max((told["values"] for _, told in self.training), default=0)

    @property
    def always_rests(self) -> bool:
        """Was it trained through without once using a batch's own statistics, as far as was looked?"""
        return bool(self.training) and all(told["rests"] and not told["values"] for _, told in self.training)

    @property
    def last(self) -> Mapping[str, Any]:
        """What was told of the statistics in the last evaluation that used them; empty if there was none."""
        return self.evaluations[-1][1] if self.evaluations else {}

    @property
    def momentum(self) -> float | None:
        """The share of a batch in the running statistics; None for their plain average."""
        momentum = self.last.get("momentum", self.layer.config.get("momentum"))
        return None if momentum is None else float(momentum)

    @property
    def leftover(self) -> float | None:
        """The share of the zeros and ones they began with in the statistics last used, (1 - m)^k; None if not known."""
        updates, momentum = self.last.get("updates"), self.momentum
        return None if updates is None or momentum is None else (1 - min(max(momentum, 0.0), 1.0)) ** updates


def norms_of(record: Record) -> list[Norm]:
    """Every layer of batch normalisation that was seen in use."""
    told: dict[str, dict[str, list[Told]]] = defaultdict(lambda: {"train": [], "eval": []})
    for fact in record.process.all("norms"):
        for number, layer in fact["layers"].items():
            told[number][fact["phase"]].append((fact["step"], layer))
    layers = record.process.layers
    return [Norm(layers[k], tuple(v["train"]), tuple(v["eval"])) for k, v in told.items() if k in layers]
