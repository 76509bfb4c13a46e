"""One fault, one file: the folder is the registry, and a module in it *is* a rule.

A rule is a module typed against `Rule`: a docstring with fixed parts, some constants, and functions. There is nothing
to inherit from and nothing to register.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Set
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeGuard, runtime_checkable

from torchdx.finding import Finding, Fix, NotEnough, Severity

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program

FAMILIES = {
    "device": "1",
    "gradients": "2",
    "activations": "3",
    "normalisation": "4",
    "data": "5",
    "loss": "6",
    "schedules": "7",
    "generalisation": "8",
    "loop": "9",
    "distributed": "0",
}
"""Families and the first digit of their rules' codes."""


@runtime_checkable
class Rule(Protocol):
    """What every rule module has; see also `SourceRule`, `RunRule`, `AuditRule`, `MeasuredRule` and `TreatableRule`."""

    __name__: str
    __doc__: str | None
    code: str
    family: str
    severity: Severity
    needs: Set[str]
    explains: Set[str]

    def sick(self) -> None: ...
    def healthy(self) -> None: ...


@runtime_checkable
class SourceRule(Protocol):
    """A rule that can see its fault in source."""

    def in_source(self, program: Program) -> Iterable[Finding]: ...


@runtime_checkable
class RunRule(Protocol):
    """A rule that can see its fault in the record of a run."""

    def in_run(self, record: Record) -> Iterable[Finding | NotEnough]: ...


@runtime_checkable
class AuditRule(Protocol):
    """A rule that can see its fault in the audit of a program's data."""

    def in_audit(self, record: Record, program: Program | None) -> Iterable[Finding]: ...


@runtime_checkable
class MeasuredRule(Protocol):
    """A rule that holds numbers of a run against thresholds, and can tell both: a bench shows where runs lie."""

    needs: Set[str]

    def readings(self, record: Record) -> Iterable[tuple[str, float]]: ...


@runtime_checkable
class TreatableRule(Protocol):
    """A rule that can offer cures as edits of the source."""

    def treat(self, program: Program, finding: Finding) -> Iterable[Fix]: ...


# `isinstance` with a protocol takes as long as a quick rule, and these are asked of every rule for every program.


def reads(rule: Rule) -> TypeGuard[SourceRule]:
    """Can it see its fault in source?"""
    return hasattr(rule, "in_source")


def watches(rule: Rule) -> TypeGuard[RunRule]:
    """Can it see its fault in the record of a run?"""
    return hasattr(rule, "in_run")


def audits(rule: Rule) -> TypeGuard[AuditRule]:
    """Can it see its fault in the audit of a program's data?"""
    return hasattr(rule, "in_audit")


def measures(rule: Rule) -> TypeGuard[MeasuredRule]:
    """Can it tell what a run reads on its thresholds?"""
    return hasattr(rule, "readings")


def treats(rule: Rule) -> TypeGuard[TreatableRule]:
    """Can it offer cures?"""
    return hasattr(rule, "treat")


def name_of(rule: Rule) -> str:
    """The rule's name, the file's own with hyphens: `forget-gate-shut`."""
    return rule.__name__.rpartition(".")[2].replace("_", "-")


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule there is, by code."""
    return tuple(sorted(_modules(), key=lambda rule: rule.code))


def _modules() -> Iterator[Rule]:
    for found in pkgutil.walk_packages(__path__, prefix=__name__ + "."):
        if not found.ispkg:
            module = importlib.import_module(found.name)
            if isinstance(module, Rule):
                yield module


def find_rule(word: str) -> Rule | None:
    """The rule with this code or name, in any case, or None."""
    wanted = word.strip().lower().replace("_", "-")
    return next((rule for rule in all_rules() if wanted in (rule.code.lower(), name_of(rule))), None)


@cache
def explanations() -> dict[str, Set[str]]:
    """What each rule's fault brings about: what it names itself, and what `follows` from a symptom that it names."""
    follows: dict[str, Set[str]] = {name_of(rule): getattr(rule, "follows", frozenset()) for rule in all_rules()}
    explained = {}
    for rule in all_rules():
        followers = {name for name, symptoms in follows.items() if symptoms & rule.explains}
        explained[name_of(rule)] = (rule.explains | followers) - {name_of(rule)}
    return explained
