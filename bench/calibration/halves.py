"""Thresholds set anew on one half of the programs, and the other half judged by them; then the other way round.

What is set by one half is every threshold that is a fraction. For each of its programs it is tried on which side of the
program's reading the threshold must lie for the rule to speak; the threshold then goes where most sick programs, with
that fault, are told and the fewest others, and there to the middle of what is left free by the readings next to it. A
healthy program counts `ALARM` sick ones; one whose true cause brings about what the rule tells counts nothing. Where
nothing binds it on one side, the half cannot say where it lies: it stays if it is among the best, else it goes just
beyond the last reading. Whole numbers say how much evidence is waited for, not where the sick lie, and stay.
"""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from torchdx.exam import examine
from torchdx.exam.experience import Case as Known
from torchdx.exam.experience import Experience
from torchdx.finding import Finding
from torchdx.record import Record
from torchdx.rules import RunRule, all_rules, explanations, find_rule, measures, name_of, watches
from torchdx.source import Program

Told = dict[str, Any]

Thresholds = Mapping[str, float]
"""Numbers by their names, RULE.CONSTANT."""

ALARM = 10.0
"""Sick programs that may be missed for the sake of one healthy program that is not alarmed."""

NUDGE = 1e-6
"""How far beside a reading a threshold is tried, as a share of it."""


@dataclass(frozen=True)
class Flip:
    """A program of which a rule speaks with a threshold on one side of the program's reading only."""

    program: str
    reading: float
    when_above: bool
    """Does it speak with the threshold above the reading?"""


def half_of(base: str) -> int:
    """The half, 0 or 1, in which a healthy program lies with all that is planted in it; apart from the parts' hash."""
    return hashlib.sha256(f"half of {base}".encode()).digest()[0] % 2


def flips(folder: Path, program: str, causes: frozenset[str]) -> dict[str, Flip]:
    """By threshold, where this program is told or not told by where the threshold lies."""
    record = Record.read(folder)
    found: dict[str, Flip] = {}
    for rule in all_rules():
        if watches(rule) and measures(rule) and all(record.process.all(kind) for kind in rule.needs):
            for constant, reading in rule.readings(record):
                flip = _flip(rule, constant, reading, record, program, loud=name_of(rule) not in causes)
                if flip:
                    found[f"{name_of(rule)}.{constant}"] = flip
    return found


def _flip(rule: RunRule, constant: str, reading: float, record: Record, program: str, *, loud: bool) -> Flip | None:
    module = importlib.import_module(rule.__name__)
    value = getattr(module, constant, None)
    if not isinstance(value, float) or not math.isfinite(reading):
        return None
    spoke = []
    for tried in (reading - _little(reading), reading + _little(reading)):
        setattr(module, constant, tried)
        spoke.append(_speaks(rule, record, loud=loud))
    setattr(module, constant, value)
    return Flip(program, reading, spoke[1]) if spoke[0] != spoke[1] else None


def _speaks(rule: RunRule, record: Record, *, loud: bool) -> bool:
    try:
        told = [found for found in rule.in_run(record) if isinstance(found, Finding)]
    except (ArithmeticError, LookupError, ValueError):
        return False  # a number that means nothing, as a share below 0; who examines takes a failed rule as silent
    return any((found.severity or rule.severity) != "note" for found in told) if loud else bool(told)


def thresholds(told: Sequence[Told], flipped: Mapping[str, Mapping[str, Flip]]) -> dict[str, float]:
    """Every threshold as these programs set it, from their flips by program and threshold."""
    truths = {one["program"]: one["truth"] if one["kind"] else None for one in told}
    names = {name for program in truths for name in flipped[program]}
    return {name: _set_by(name, [flipped[p][name] for p in truths if name in flipped[p]], truths) for name in names}


def _set_by(name: str, found: Sequence[Flip], truths: Mapping[str, Sequence[str] | None]) -> float:
    rule, value = name.partition(".")[0], _value(name)
    edges = sorted({flip.reading for flip in found})
    ends = [-math.inf, *edges, math.inf]
    worth = [
        sum(_weight(rule, truths[flip.program]) for flip in found if flip.when_above == (flip.reading <= low))
        for low, _ in pairwise(ends)
    ]
    best = [(low, high) for (low, high), one in zip(pairwise(ends), worth, strict=True) if one == max(worth)]
    bound = [(low, high) for low, high in best if math.isfinite(low) and math.isfinite(high)]
    if bound:
        return _midway(*max(bound, key=lambda ends: _width(*ends)))
    low, high = best[0]
    if any(low <= value <= high for low, high in best):
        return value
    return low + _little(low) if math.isfinite(low) else high - _little(high)


def _little(reading: float) -> float:
    return NUDGE * abs(reading) + NUDGE**2


def _weight(rule: str, truth: Sequence[str] | None) -> float:
    """What it is worth that a rule speaks of a program: of a healthy one, of one with its own fault, of another."""
    if truth is None:
        return -ALARM
    if rule in truth:
        return 1.0
    return 0.0 if any(rule in _EXPLAINED.get(cause, ()) for cause in truth) else -1.0


_EXPLAINED = explanations()


def _width(low: float, high: float) -> float:
    return math.log(high / low) if low > 0 else math.inf


def _midway(low: float, high: float) -> float:
    """The geometric mean where both have one sign, else the arithmetic one."""
    return math.copysign(math.sqrt(low * high), low) if low * high > 0 else (low + high) / 2


def _value(name: str) -> float:
    rule, _, constant = name.partition(".")
    return float(getattr(_module(rule), constant))


def _module(rule: str) -> Any:
    found = find_rule(rule)
    return importlib.import_module(found.__name__) if found else None


def by_the_other_half(
    told: Sequence[Told], where: Mapping[str, tuple[Path, Path]], known: Sequence[Known | None], at_once: int
) -> list[Told]:
    """The programs with the findings that they have by the thresholds and the experience that the other half gives.

    `where` holds each program's script and the folder of its record, `known` what is remembered of them.
    """
    with ProcessPoolExecutor(at_once) as pool:
        folders, programs = [where[one["program"]][1] for one in told], [one["program"] for one in told]
        found = pool.map(flips, folders, programs, [frozenset(one["truth"]) for one in told], chunksize=8)
        flipped = dict(zip(programs, found, strict=True))
    judged: list[Told] = []
    for half in (0, 1):
        asked, others = (_in_half(told, of) for of in (half, 1 - half))
        experience = Experience.of((one for one in known if one and _half_of(one.program) != half), _EXPLAINED)
        with ProcessPoolExecutor(
            at_once, initializer=_take, initargs=(thresholds(others, flipped), experience)
        ) as pool:
            findings = pool.map(_findings, *zip(*(where[one["program"]] for one in asked), strict=True))
            judged += [{**one, "findings": found} for one, found in zip(asked, findings, strict=True)]
    return judged


def _in_half(told: Sequence[Told], half: int) -> list[Told]:
    return [one for one in told if half_of(one["base"]) == half]


def _half_of(program: str) -> int:
    return half_of(program.partition(":")[0])


_KNOWN: list[Experience] = []
"""The experience that a process judges by."""


def _take(by: Thresholds, experience: Experience) -> None:
    """In a process of its own, put these numbers in the place of the rules' own."""
    for name, value in by.items():
        rule, _, constant = name.partition(".")
        setattr(_module(rule), constant, value)
    _KNOWN.append(experience)


def _findings(script: Path, folder: Path) -> list[dict[str, str]]:
    diagnosis = examine(Program.around(script), Record.read(folder), experience=_KNOWN[-1])
    return [{"rule": finding.rule, "severity": finding.severity} for finding in diagnosis.findings]
