"""A fault planted in a program, by edits of text that stands in it exactly once."""

from __future__ import annotations

from dataclasses import dataclass

Edit = tuple[str, str]


@dataclass(frozen=True)
class Planted:
    """One fault, planted in one program."""

    program: str
    kind: str
    edits: tuple[Edit, ...]
    proven: str = ""

    def applied(self, text: str) -> str:
        """The program with the fault in it; every edit must find its place, and no second one."""
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.program}, {self.kind}: {old!r} stands there {text.count(old)} times, not once")
            text = text.replace(old, new)
        return text


def plant(program: str, kind: str, *edits: Edit, proven: str = "") -> Planted:
    """One fault."""
    return Planted(program, kind, edits, proven)
