"""Which calls could lead, through functions of the project, to calls of certain names? A generous, quick guess by name.

It saves following calls that cannot matter. A name that many functions bear says little outside their own files.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from torchdx.source.expressions import held_as
from torchdx.source.file import SourceFile
from torchdx.source.index import FUNCTIONS, last_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torchdx.source.program import Program

MANY = 8
TELLING = re.compile(r"train|step|fit|epoch|learn|optimi[sz]|update|backward", re.IGNORECASE)


Calling: TypeAlias = tuple[set[str], set[str], SourceFile]


def callings(program: Program) -> Iterator[Calling]:
    """For every function the names it is called by, those that it calls, and its file."""
    for file in program.torch_files:
        for scope, calls in file.index.calls_in.items():
            names = _called_as(program, file, scope) if isinstance(scope, FUNCTIONS) else set()
            if names:
                yield names, {last_word(call) for call in calls}, file


class Leading:
    """The names that may lead to one of the roots."""

    def __init__(self, program: Program, roots: Iterable[str]) -> None:
        self.everywhere = set(roots)
        self.within: dict[SourceFile, set[str]] = {}
        called = program.callings
        bearers = Counter(name for names, _, _ in called for name in names)
        while sum(self._grow(names, inner, file, bearers) for names, inner, file in called):
            pass

    def _grow(self, names: set[str], inner: set[str], file: SourceFile, bearers: Counter[str]) -> bool:
        here = self.within.setdefault(file, set())
        new = names - self.everywhere - here
        if not new or (self.everywhere.isdisjoint(inner) and here.isdisjoint(inner)):
            return False
        for name in new:
            common = bearers[name] > MANY and not TELLING.search(name)
            (here if common else self.everywhere).add(name)
        if not new.isdisjoint(("closure", "lambda")):
            self.everywhere.add("step")
        return True

    def has(self, word: str, file: SourceFile) -> bool:
        """Could a call by this name, in this file, lead there?"""
        return word in self.everywhere or word in self.within.get(file, ())


def _called_as(program: Program, file: SourceFile, scope: ast.AST) -> set[str]:
    """The last words by which a function is called; a model's `forward` is left out, it does not train."""
    name = getattr(scope, "name", "lambda")
    above = file.parent(scope)
    if name == "forward" or (name[:2] == "__" and not isinstance(above, ast.ClassDef)):
        return set()
    if name == "__init__" and isinstance(above, ast.ClassDef):
        return {above.name}
    if name == "__call__" and isinstance(above, ast.ClassDef):
        return {word for call in program.calls_named(above.name) for word in held_as(call)}
    return {name}
