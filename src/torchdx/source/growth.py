"""How a list or container changes after it was made: what is put in, taken out or replaced, in the order of the source.

Whoever asks for the last layer of a model must not be told one that something else was put behind, or that was taken
off again: where that cannot be followed, the last item may be anything.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.source.definitions import UserFunction
from torchdx.source.expressions import Call
from torchdx.source.file import SourceFile
from torchdx.source.flow import reaching
from torchdx.source.index import LOOPS, Scope
from torchdx.source.reading import words
from torchdx.source.values import UNKNOWN, Frame, Literal, Reference, Value, either

if TYPE_CHECKING:
    from torchdx.source.program import Program

GROWING = words("append extend add_module insert")
SHUFFLING = words("pop remove clear reverse sort")
"""Methods after which other items may be the last ones, or none."""
Spread = Callable[[Value, bool], "tuple[tuple[Value, ...], bool]"]


@dataclass
class Holding:
    """What a list holds so far, and whether it might be more or less."""

    items: list[Value]
    is_open: bool

    @property
    def parts(self) -> tuple[tuple[Value, ...], bool]:
        """Both, as a group takes them."""
        return tuple(self.items), self.is_open

    def blur(self) -> None:
        """From here on, the last item may be anything."""
        self.is_open = True
        self.items[-1:] = [either((self.items[-1], UNKNOWN)) if self.items else UNKNOWN]

    def drop(self, certain: bool) -> None:
        """The last item is taken off, or may be."""
        if certain and self.items:
            self.items.pop()
        else:
            self.blur()

    def put(self, place: Value, value: Value) -> None:
        """Something is put at a place."""
        where = place.value if isinstance(place, Literal) else None
        if isinstance(where, int) and 0 <= where < len(self.items):
            self.items.insert(where, value)
        else:
            self.items.append(either((value, UNKNOWN)))
            self.is_open = True


def grown(
    program: Program, file: SourceFile, node: ast.expr, frame: Frame | None, held: Holding, spread: Spread
) -> Holding:
    """What a list or container holds that is made and named here, after all that is done to it in this scope."""
    named = _naming(file, node)
    if named is None:
        return held
    statement, target = named
    if not isinstance(target, (ast.Name, ast.Attribute)):
        return held
    outside = set(file.ancestors(statement))
    for change in _changes(file, statement, target):
        between = [above for above in file.ancestors(change) if above not in outside]
        looped = any(isinstance(above, LOOPS) for above in between)
        branched = any(isinstance(above, ast.If) for above in between)
        if isinstance(change, ast.Call):
            _called(Call(program, file, change, frame), target, held, spread, looped, branched)
        else:
            held.blur()
        held.is_open |= looped
    return held


def _called(change: Call, target: ast.expr, held: Holding, spread: Spread, looped: bool, branched: bool) -> None:
    """What one call does to the list."""
    func = change.node.func
    if not isinstance(func, ast.Attribute) or not _same(func.value, target):
        by_other_name = not any(_same(given, target) for given in change.node.args)
        return held.blur() if by_other_name or _is_grown_by(change, target) else None
    word = func.attr
    if word in SHUFFLING:
        return held.drop(not looped and not branched) if word == "pop" and not change.node.args else held.blur()
    if word == "extend":
        values, uncertain = spread(change.argument_value(0), True)
    else:
        values, uncertain = (change.argument_value(0 if word == "append" else 1, "module"),), False
    if branched:
        values, uncertain = tuple(either((value, UNKNOWN)) for value in values), True
    held.is_open |= uncertain
    if word == "insert":
        return held.put(change.argument_value(0), values[0])
    held.items += values
    return None


def _changes(file: SourceFile, statement: ast.stmt, target: ast.Name | ast.Attribute) -> Iterator[ast.AST]:
    """Everything in the scope that may change the list which this statement gives to this name, in order."""
    scope = file.scope_of(statement)
    names = [target, *_other_names(scope, target)]
    calls = file.index.calls_in.get(scope.node, ())
    found = [node for node in calls if _may_change(node, names) or any(_same(given, target) for given in node.args)]
    items = [*file.index.items_in.get(scope.node, ()), *file.index.deleted_in.get(scope.node, ())]
    parts: list[ast.AST] = [
        binding.node
        for binding in items
        if isinstance(binding.node, ast.Subscript) and _same(binding.node.value, target)
    ]
    for node in sorted([*found, *parts], key=lambda node: getattr(node, "lineno", 0)) if parts else found:
        if isinstance(target, ast.Name):
            seen = reaching(file, scope.bindings.get(target.id, []), node, scope.node)
            if not any(binding.node is statement for binding in seen):
                continue
        yield node


def _other_names(scope: Scope, target: ast.expr) -> Iterator[ast.expr]:
    """Names that are given the same list."""
    for name, bindings in scope.bindings.items():
        if any(b.value is not None and b.how == "assign" and not b.steps and _same(b.value, target) for b in bindings):
            yield ast.Name(name)


def _may_change(node: ast.Call, names: Sequence[ast.expr]) -> bool:
    func = node.func
    if not isinstance(func, ast.Attribute) or (func.attr not in GROWING and func.attr not in SHUFFLING):
        return False
    return any(_same(func.value, name) for name in names)


def _same(node: ast.AST, target: ast.AST) -> bool:
    """Do two expressions name the same thing: one name, or one attribute of one name?"""
    if isinstance(target, ast.Name):
        return isinstance(node, ast.Name) and node.id == target.id
    if isinstance(target, ast.Attribute):
        return isinstance(node, ast.Attribute) and node.attr == target.attr and _same(node.value, target.value)
    return False


def _is_grown_by(call: Call, target: ast.expr) -> bool:
    """Is the list handed to a function of the project's that changes what it is handed?"""
    callee = call.program.evaluate(call.file, call.node.func, call.frame)
    function = callee.definition if isinstance(callee, Reference) else getattr(callee, "definition", None)
    if not isinstance(function, UserFunction):
        return False
    places = [place for place, given in enumerate(call.node.args) if _same(given, target)]
    index = function.file.index
    scope = index.scopes.get(function.node)
    inside = [ast.Name(name) for name in function.parameters if function.place_of(name) in places]
    if any(_may_change(inner, inside) for inner in index.calls_in.get(function.node, ())):
        return True
    bindings = [binding for name in inside for binding in (scope.bindings.get(name.id, ()) if scope else ())]
    return any(binding.how == "augment" for binding in bindings)


def is_assigned(file: SourceFile, node: ast.expr) -> bool:
    """Does a statement give a name to just what this expression gives?"""
    return _naming(file, node) is not None


def _naming(file: SourceFile, node: ast.expr) -> tuple[ast.stmt, ast.expr] | None:
    """The statement that gives this expression a name, and the name; also one of several: `a, b = [], []`."""
    above = file.parent(node)
    if isinstance(above, ast.Assign) and above.value is node:
        return above, above.targets[0]
    if isinstance(above, (ast.AnnAssign, ast.AugAssign)) and above.value is node:
        return above, above.target
    statement = file.parent(above) if isinstance(above, ast.Tuple) else None
    if isinstance(above, ast.Tuple) and isinstance(statement, ast.Assign) and statement.value is above:
        targets = statement.targets[0]
        if isinstance(targets, ast.Tuple) and len(targets.elts) == len(above.elts):
            return statement, targets.elts[above.elts.index(node)]
    return None
