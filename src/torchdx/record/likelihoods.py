"""Likelihoods of classes that the graph of an objective shows to be none, however they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torchdx.finding import Site
from torchdx.record import Record
from torchdx.record.anatomy import site_of
from torchdx.record.facts import Fact

LEAST = 2
"""Backward passes whose graphs must show it: what one shows is exact, and two are no single odd batch."""


@dataclass(frozen=True)
class OddLikelihood:
    """One of them: of what `shape`, with the classes along which axis, seen at how many `looks`."""

    shape: tuple[int, ...]
    classes: int
    axis: int | None
    by: str
    looks: int
    site: Site | None
    layer: str | None


def odd_likelihoods(record: Record, what: str) -> Iterator[OddLikelihood]:
    """Each that is odd in this way, once a place."""
    lines = {fact["key"]: fact["line"] for fact in record.process.all("likelihood_line")}
    places: dict[tuple[object, ...], list[Fact]] = {}
    for fact in record.process.all("likelihood"):
        if fact["what"] == what:
            places.setdefault((fact["key"], fact["axis"], len(fact["shape"]), fact["after"]), []).append(fact)
    told = set()
    for (key, axis, _, after), facts in places.items():
        steps = {fact["step"] for fact in facts}
        if len(steps) < LEAST or key in told:
            continue
        told.add(key)
        before = next((p for p in record.parameters if p.id == after), None)
        line = site_of(lines[key]) if key in lines else None
        yield OddLikelihood(
            shape=tuple(facts[0]["shape"]),
            classes=facts[0]["classes"],
            axis=axis if isinstance(axis, int) else None,
            by=facts[0]["by"],
            looks=len(steps),
            site=line or (before.site if before is not None else None),
            layer=before.layer if before is not None else None,
        )
