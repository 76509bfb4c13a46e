"""What was seen of a program's data: its pipelines, the journey of a sample through each, and measures of many samples.

A pipeline is a DataLoader, a dataset or a transform. Each kind of fact about it stands in docs/record.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torchdx.finding import Site
from torchdx.record.anatomy import site_of
from torchdx.record.facts import Fact

if TYPE_CHECKING:
    from torchdx.record.process import Process

NOTHING: Fact = {}


@dataclass(frozen=True)
class Step:
    """One step of a sample: what was done to a value, where, and what the value was before and after."""

    fact: Fact

    @property
    def number(self) -> int:
        """Its place in the journey, from 0."""
        return int(self.fact["n"])

    @property
    def kind(self) -> str:
        """ "call", "line", "item", "collate" or "door"."""
        return str(self.fact["kind"])

    @property
    def name(self) -> str:
        """The dotted name of what was called; empty for a line of the program's own."""
        return str(self.fact.get("name") or "")

    @property
    def text(self) -> str:
        """The call or the line as it is written."""
        return str(self.fact.get("text") or "")

    @property
    def words(self) -> str:
        """What it did, in one phrase."""
        return str(self.fact.get("words") or "")

    @property
    def site(self) -> Site | None:
        """Where it stands in the program."""
        return site_of(self.fact.get("site"))

    @property
    def before(self) -> Fact:
        """The value it was given, as described; empty where it was given none."""
        return self.fact.get("before") or NOTHING

    @property
    def after(self) -> Fact:
        """The value it gave, as described."""
        return self.fact.get("after") or NOTHING

    @property
    def change(self) -> Fact:
        """How the value differs from the one before, as measured; empty where the two cannot be held together."""
        return self.fact.get("change") or NOTHING

    @property
    def varies(self) -> bool:
        """Did it give something else for the same value when asked again?"""
        return bool(self.fact.get("varies"))

    @property
    def part(self) -> str:
        """What of the sample it leads to: "input", "target" or "other"."""
        return str(self.fact.get("part") or "other")


@dataclass(frozen=True)
class Journey:
    """One sample's way through a pipeline, in the order in which it happened."""

    fact: Fact

    @cached_property
    def steps(self) -> Sequence[Step]:
        """Every step."""
        return [Step(step) for step in self.fact.get("steps", ())]

    def of(self, part: str) -> Sequence[Step]:
        """The steps that lead to the sample's "input", its "target", or to anything "other"."""
        return [step for step in self.steps if step.part == part]


@dataclass(frozen=True)
class Pipeline:
    """A DataLoader, dataset or transform of the program, and all that was seen of it."""

    fact: Fact
    facts: Mapping[str, Sequence[Fact]]

    @property
    def id(self) -> int:
        """Its number."""
        return int(self.fact["id"])

    @property
    def role(self) -> str:
        """ "train", "eval", or empty where it is not known."""
        return str(self.fact.get("role") or "")

    @property
    def name(self) -> str:
        """What the program calls it, or what it is."""
        return str(self.fact.get("name") or self.fact.get("dataset") or self.fact.get("what") or "")

    @property
    def site(self) -> Site | None:
        """Where it was made."""
        return site_of(self.fact.get("site"))

    @cached_property
    def journey(self) -> Journey:
        """The journey of one of its samples; without steps where none could be followed."""
        return Journey(self.one("journey"))

    def one(self, kind: str) -> Fact:
        """The fact of this kind about it; empty if there is none."""
        return next(iter(self.all(kind)), NOTHING)

    def all(self, kind: str) -> Sequence[Fact]:
        """The facts of this kind about it."""
        return self.facts.get(kind, ())


KINDS = (
    *("journey", "sheet", "columns", "nonfinite", "mixture", "labels", "tokens"),
    *("neighbours", "repeat", "clones", "broken", "timing"),
)
"""The facts that are about one pipeline each; those about two name both as `train` and `eval`."""


def pipelines_of(process: Process) -> Sequence[Pipeline]:
    """Every pipeline of a process that was audited, in the order in which they were made."""
    return [
        Pipeline(fact, {kind: list(_about(process, kind, fact["id"])) for kind in KINDS})
        for fact in process.all("pipeline")
    ]


def _about(process: Process, kind: str, pipeline: Any) -> Iterator[Fact]:
    return (fact for fact in process.all(kind) if fact.get("pipeline") == pipeline)
