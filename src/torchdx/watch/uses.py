"""How often a place of the program switches gradients off, and what it then runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from torchdx.watch.places import Place

_ALWAYS = 24


@dataclass
class Uses:
    """One place that switches gradients off: how often, at how many steps, and which of a twin's two it then runs."""

    codes: tuple[CodeType, CodeType]
    entries: int = 0
    steps: int = 0
    first: int = 0
    last: int = -1
    due: int = 1
    place: Place | None = None
    runs: set[tuple[int, str]] = field(default_factory=set)

    def enters(self, step: int) -> bool:
        """Count one more; is this one to be followed inside? The first always, then ever fewer, at odd distances."""
        if not self.entries:
            self.first = step
        self.entries += 1
        self.steps += step != self.last
        self.last = step
        if self.entries < self.due:
            return False
        self.due = self.entries + 1 + (self.entries // 8 | 1 if self.entries > _ALWAYS else 0)
        return True

    def told(self) -> list[Any]:
        """As part of a fact."""
        return [self.entries, self.steps, self.first, self.last, self.place]
