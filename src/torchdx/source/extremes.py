"""Where the best is found by the end of a list: `if value <= min(seen)`, or `states[argmax(seen)]` that is loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.choices import Choice, hangs_on, is_of_mode
from torchdx.source.index import last_word

if TYPE_CHECKING:
    from torchdx.source.file import SourceFile
    from torchdx.source.program import Program

_ENDS = {"max": True, "amax": True, "min": False, "amin": False}
_PLACES = {"argmax": True, "nanargmax": True, "argmin": False, "nanargmin": False}
_LOADS = ("load_state_dict",)
_FARTHEST = 4


def extremes(program: Program) -> Iterator[Choice]:
    """Every choice of weights by the greatest or the smallest number of a list."""
    for file in program.torch_files:
        for node in tuple(file.index.parents):
            if isinstance(node, ast.If) and is_of_mode(program, file, node.test):
                yield from _held_against_all(program, file, node)
        for word in _LOADS:
            for call in file.index.calls.get(word, ()):
                for argument in call.args[:1]:
                    yield from _placed(program, file, argument, 0)


def _held_against_all(program: Program, file: SourceFile, branch: ast.If) -> Iterator[Choice]:
    """`if value >= max(seen)`, and weights are kept."""
    both = isinstance(branch.test, ast.BoolOp) and isinstance(branch.test.op, ast.And)
    for test in branch.test.values if both and isinstance(branch.test, ast.BoolOp) else [branch.test]:
        if not isinstance(test, ast.Compare) or len(test.ops) != 1:
            continue
        left, right = test.left, test.comparators[0]
        for value, end, above in ((left, right, (ast.Gt, ast.GtE)), (right, left, (ast.Lt, ast.LtE))):
            greatest = _end(end)
            below = (ast.Lt, ast.LtE) if above == (ast.Gt, ast.GtE) else (ast.Gt, ast.GtE)
            reached = isinstance(test.ops[0], (ast.Eq, *(above if greatest else below)))
            if greatest is not None and _end(value) is None and reached and hangs_on(program, file, branch.body):
                yield Choice(file, test, value, end, greatest)


def _end(node: ast.expr) -> bool | None:
    """Is it the greatest of a list, or the smallest? None if it is neither."""
    whole = isinstance(node, ast.Call) and not node.keywords and len(node.args) == 1
    return _ENDS.get(last_word(node)) if whole and isinstance(node, ast.Call) else None


def _placed(program: Program, file: SourceFile, node: ast.expr, depth: int) -> Iterator[Choice]:
    """The places of ends, of one list, by which something is taken out of another."""
    for part in ast.walk(node):
        if isinstance(part, ast.Subscript):
            yield from _index(program, file, part.slice, depth)
        elif isinstance(part, ast.Name) and depth < _FARTHEST:
            for value in _values(program, file, part):
                yield from _placed(program, file, value, depth + 1)


def _index(program: Program, file: SourceFile, node: ast.expr, depth: int) -> Iterator[Choice]:
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and last_word(part) in _PLACES and part.args:
            yield Choice(file, part, part.args[0], part, _PLACES[last_word(part)])
        elif isinstance(part, ast.Call) and last_word(part) == "index" and part.args:
            end = part.args[0]
            greatest = _end(end)
            if greatest is not None and isinstance(end, ast.Call):
                yield Choice(file, part, end.args[0], end, greatest)
        elif isinstance(part, ast.Name) and depth < _FARTHEST:
            for value in _values(program, file, part):
                yield from _index(program, file, value, depth + 1)


def _values(program: Program, file: SourceFile, name: ast.Name) -> list[ast.expr]:
    """What a name was given, where that is one thing."""
    bindings = program.names.visible(file.scope_of(name), name.id)[1]
    found = [one.value for one in bindings if one.how == "assign" and one.value is not None and not one.steps]
    return found if len(found) == len(bindings) == 1 else []
