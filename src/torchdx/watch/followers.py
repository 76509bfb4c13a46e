"""Lines that would let one module follow another, by loading or averaging its weights: which were never reached?

Looked up in the text of the program, at the end and only where a copy that a loss is taken with never moved.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterable, Iterator

from torch import nn

from torchdx.watch.places import Place, absolute, is_user_file, user_place
from torchdx.watch.session import Session

MOST = 8
"""Lines told."""

_MOST_REACHED = 4096
_MOST_TEXT = 20_000


class Followers:
    """Remembers the lines that load weights or go through parameters, and tells of those never reached."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._reached: set[tuple[str, int]] = set()
        session.weave(nn.Module.load_state_dict, before=self._passed)

    def begin(self) -> None:
        """There is a copy that may have to follow: watch who goes through parameters from here on."""
        self.session.weave_late(nn.Module.parameters, before=self._passed)

    def _passed(self, *_: object) -> None:
        place = user_place()
        if place is not None and len(self._reached) < _MOST_REACHED:
            self._reached.add((str(place[0]), int(place[1] or 0)))

    def idle(self, files: Iterable[str]) -> list[Place]:
        """The lines in these files and the program's own that would update a module from another, and never ran."""
        main = getattr(sys.modules.get("__main__"), "__file__", None)
        told: list[Place] = []
        for name in {absolute(file) for file in (*files, *([main] if main else [])) if is_user_file(file)}:
            lines = linecache.getlines(name)
            if len(lines) > _MOST_TEXT:
                continue
            try:
                tree = ast.parse("".join(lines))
            except SyntaxError:
                continue
            for node in _updates(tree):
                end = node.end_lineno or node.lineno
                if not any((name, line) in self._reached for line in range(node.lineno, end + 1)):
                    told.append([name, node.lineno, node.col_offset + 1, end, (node.end_col_offset or 0) + 1])
        return told[:MOST]


def _updates(tree: ast.AST) -> Iterator[ast.expr]:
    """Calls that load one module's `state_dict()` into another, and what loops that average parameters go through."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _method(node) == "load_state_dict" and len(node.args) == 1:
            given, own = node.args[0], node.func
            if isinstance(given, ast.Call) and _method(given) == "state_dict" and not given.args:
                assert isinstance(own, ast.Attribute) and isinstance(given.func, ast.Attribute)
                if ast.dump(own.value) != ast.dump(given.func.value):
                    yield node
        elif isinstance(node, ast.For) and _averages(node) and isinstance(node.iter, ast.Call):
            yield node.iter


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _averages(loop: ast.For) -> bool:
    """Does it go through two modules' parameters, and change those of one?"""
    two = isinstance(loop.iter, ast.Call) and _goes_through_two(loop.iter)
    return two and any(_changes(inner) for statement in loop.body for inner in ast.walk(statement))


def _goes_through_two(call: ast.Call) -> bool:
    inner = [argument for argument in call.args if isinstance(argument, ast.Call) and _method(argument) == "parameters"]
    return isinstance(call.func, ast.Name) and call.func.id == "zip" and len(inner) == len(call.args) == 2


def _changes(node: ast.AST) -> bool:
    """Does it change a tensor in place, or put another in its `data`?"""
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Attribute) and target.attr == "data" for target in node.targets)
    return isinstance(node, ast.Call) and _method(node) in ("copy_", "lerp_", "mul_", "add_")
