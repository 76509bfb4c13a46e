"""Figures that a program works out itself in its evaluations, and that may be losses."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from torchdx.record.anatomy import Phase

if TYPE_CHECKING:
    from torchdx.record import Record


def scored_by_hand(record: Record) -> dict[object, list[Phase]]:
    """The figures of each place, one for each evaluation, as phases of a loss. Their sign is that of the tensor.

    How many samples one stands for is taken from what the model was given: that is one batch, and so no more than all.
    """
    given = [fact["shape"][0] for fact in record.process.all("evaluated") if fact.get("shape")]
    samples = min(given, default=1)
    groups: dict[object, list[Phase]] = defaultdict(list)
    for index, fact in enumerate(record.process.all("score")):
        step, count = fact["step"], fact["count"]
        loss = {"fn": "by hand", "site": fact["site"], "samples": samples, "mean": fact["mean"], "error": None}
        groups[str(fact["site"])].append(Phase(index, "score", None, step, step, count, False, {}, (loss,)))
    return groups
