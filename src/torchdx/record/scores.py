"""Figures that a program works out itself in its evaluations, as far as its source shows them to be losses."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from torchdx.record.anatomy import Phase

if TYPE_CHECKING:
    from torchdx.finding import Site
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


@lru_cache(maxsize=64)
def sense(site: Site) -> int:
    """1 if what is taken out here is better the smaller it is, -1 if the greater, 0 if the source does not tell."""
    from torchdx.source import Program
    from torchdx.source.merits import Merits

    if not Path(site.path).is_file():
        return 0
    program = Program.around(site.path)
    file = program.file(site.path)
    node = file.node_at(site, ast.Call) if file is not None else None
    return -Merits(program).better(file, node) if file is not None and isinstance(node, ast.Call) else 0
