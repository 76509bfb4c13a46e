"""The programs of the matrix: healthy ones, and those with a fault planted in them."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faults import PLANTED, SCORES, Fault

ROOT = Path(__file__).parents[2]
OURS = Path(__file__).parent / "programs"
UNSEEN = Path(__file__).parent / "unseen"
ZOO = ROOT / "tests" / "healthy"

PARTS = "AB" + "".join(sorted(folder.name for folder in UNSEEN.iterdir() if any(folder.glob("*.py"))))
"""The parts of the matrix: two of programs that rules were made with, and one for each folder of unseen ones."""

WORSE, LEAST = 1.2, 0.01
"""A sick program's error over that of its healthy base, and by how much it must lie above it in any case."""

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)(?![\w.])", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """A program of the matrix, and the fault in it, if there is one."""

    base: str
    script: Path
    fault: Fault | None = None

    @property
    def name(self) -> str:
        """The program's own name, its fault's after it."""
        return f"{self.base}: {self.fault.kind}" if self.fault else self.base

    @property
    def key(self) -> str:
        """A name for files: the script's own, or its folder's where that is what tells programs apart."""
        return self.base if self.script.stem == "train" else self.script.stem

    @property
    def part(self) -> str:
        """A program and all that is planted in it lie in one part."""
        return part_of(self.name)


def part_of(program: str) -> str:
    """The part that a program lies in, by its name: its base's folder if it was unseen, else A or B by its hash."""
    base = program.partition(":")[0]
    unseen = next(UNSEEN.glob(f"*/{base}.py"), None)
    return unseen.parent.name if unseen else "AB"[hashlib.sha256(base.encode()).digest()[0] % 2]


def written(folder: Path) -> list[Case]:
    """Every program of the matrix, written to a folder of its own, away from anything that is a test's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return [*_healthy(folder), *_sick(folder)]


def _healthy(folder: Path) -> Iterator[Case]:
    for place in (*_planted_in(), ZOO):
        for file in sorted(place.glob("*.py")):
            yield Case(file.stem, Path(shutil.copy(file, folder)))
        for file in sorted(place.glob("*/train.py")):
            copied = shutil.copytree(file.parent, folder / file.parent.name)
            yield Case(file.parent.name, copied / file.name)


def _sick(folder: Path) -> Iterator[Case]:
    for fault in PLANTED:
        script = folder / f"{fault.program}__{_slug(fault.kind)}.py"
        if script.exists():
            raise ValueError(f"{fault.program} has two faults of the kind {fault.kind!r}")
        script.write_text(fault.applied(source_of(fault.program)))
        yield Case(fault.program, script, fault)


def source_of(program: str) -> str:
    """The healthy program that faults are planted in."""
    return next(file for place in _planted_in() if (file := place / f"{program}.py").exists()).read_text()


def _planted_in() -> list[Path]:
    return [OURS, *sorted(UNSEEN.iterdir())]


def _slug(words: str) -> str:
    return re.sub(r"\W+", "_", words.lower())


def score_of(printed: str) -> float | None:
    """The last number that a program printed."""
    found = NUMBER.findall(printed)
    return float(found[-1]) if found else None


def is_worse(program: str, score: float | None, healthy: float | None) -> bool:
    """Is a score clearly worse than the healthy program's? One that is no number is."""
    if score is None or score != score:
        return True
    if healthy is None:
        return False
    kind = SCORES[program]
    if kind == "accuracy":
        return 1 - score > max(WORSE * (1 - healthy), 1 - healthy + LEAST)
    if kind in ("loss", "error rate"):
        return score > healthy + max((WORSE - 1) * abs(healthy), 0.2 * LEAST if healthy < LEAST else LEAST)
    return score < healthy / WORSE  # steps upright, the return of a game
