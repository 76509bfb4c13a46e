"""Inputs beside their targets: what was seen of the samples that a loss compared with what the model gave for them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from torchdx.finding import Site
from torchdx.record.anatomy import site_of
from torchdx.record.answers import Answers
from torchdx.record.facts import Fact


@dataclass(frozen=True)
class Pairs:
    """The samples and targets of one loss.

    `related` tells, in deviations of chance, how far samples that are alike have targets that are alike, of so many
    that were `judged`. Where targets are zeros and ones, `entropy` is that of a label, in nats: the mean over all that
    a sample has. Of pictures and maps of the same form, `laid` counts those that could be judged, those that lie as
    their maps do, and those that go clearly better turned or mirrored. `copied` are columns of
    a table of inputs with those of the targets that they were at so many `looks`, but for scale and offset, and
    `columns` how many there are of both. `blind` is what always answering the targets' mean would cost, where all that
    is minimised is the mean of errors that the program takes by itself.
    """

    function: str
    site: Site | None
    judged: int
    related: float | None
    entropy: float | None
    laid: tuple[int, int, int] | None
    copied: tuple[tuple[int, int], ...] = ()
    looks: int = 0
    columns: tuple[int, int] = (0, 0)
    blind: float | None = None


def pairs_of(facts: Iterable[Fact]) -> tuple[Pairs, ...]:
    """What was told of each loss."""
    return tuple(
        Pairs(
            fact["fn"],
            site_of(fact.get("site")),
            fact.get("judged", 0),
            max(fact["related"]) if fact.get("related") else None,
            fact.get("entropy"),
            tuple(fact["laid"]) if fact.get("laid") else None,
            tuple((column, target) for column, target in fact.get("copied", ())),
            fact.get("looks", 0),
            tuple(fact.get("columns", (0, 0))),
            fact.get("blind"),
        )
        for fact in facts
    )


def hits(answers: Answers) -> float:
    """How far the right answers are above what the same answers in another order would get, in deviations; or NaN."""
    surplus = variance = 0.0
    for fact in answers.told:
        wanted, predicted = fact.get("wanted", {}), fact.get("predicted", {})
        count = sum(wanted.values())
        if count < 2:
            continue
        shares = {label: (n / count, wanted.get(label, 0) / count) for label, n in predicted.items()}
        expected = count * math.fsum(p * w for p, w in shares.values())
        surplus += sum(fact.get("right", {}).values()) - expected
        variance += count**2 / (count - 1) * _spread(shares.values())
    return surplus / math.sqrt(variance) if variance > 0 else math.nan


def _spread(shares: Iterable[tuple[float, float]]) -> float:
    """The variance of one answer's being right, where answers are dealt out anew."""
    both = [*shares]
    hit = math.fsum(p * w for p, w in both)
    return max(0.0, hit - math.fsum(p * w * w + p * p * w for p, w in both) + hit * hit)
