"""Dictionaries: as they are written, and as `d[key] = ...` and `d.update(...)` change them later."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.expressions import Call, Expression
from torchdx.source.file import SourceFile
from torchdx.source.flow import reaching
from torchdx.source.index import word_of
from torchdx.source.values import NOTHING, UNKNOWN, Frame, Literal, Result, Table, Value, either, perhaps, united

if TYPE_CHECKING:
    from torchdx.source.program import Program

CHANGING = ("update", "setdefault", "pop", "clear", "popitem", "__setitem__")


def table_of(program: Program, file: SourceFile, node: ast.Dict, frame: Frame | None) -> Value:
    """A dictionary written in braces; unknown where its keys are not literal."""
    parts: list[Value] = []
    for key, value in zip(node.keys, node.values, strict=True):
        given = Expression(program, file, value, frame)
        if key is None:
            parts.append(given.value)
        elif isinstance(key, ast.Constant):
            parts.append(_entry(key.value, given))
        else:
            return UNKNOWN
    return _with_changes(program, file, node, frame, parts)


def table_of_call(call: Call) -> Value:
    """What `dict(...)` makes."""
    if len(call.node.args) > 1 or any(isinstance(arg, ast.Starred) for arg in call.node.args):
        return Result("dict", call)
    parts = [call.at(arg).value for arg in call.node.args]
    if not all(isinstance(choice, Table) for part in parts for choice in part.alternatives()):
        return Result("dict", call)
    return _with_changes(call.program, call.file, call.node, call.frame, [*parts, united(_keywords(call), apart=True)])


def _entry(key: object, given: Expression) -> Table:
    return Table({key: given.value}, {key: given})


def _keywords(call: Call) -> Iterator[Value]:
    for keyword in call.node.keywords:
        given = call.at(keyword.value)
        yield _entry(keyword.arg, given) if keyword.arg is not None else given.value


def looked_up(call: Call, table: Table) -> Value:
    """What `get` or `pop` takes out of a dictionary."""
    key = call.argument_value(0)
    if not isinstance(key, Literal) or not isinstance(key.value, (str, int)):
        return UNKNOWN
    otherwise = call.argument_value(1) if len(call.node.args) > 1 else Literal(None)
    known = table.items.get(key.value)
    if known is None:
        return UNKNOWN if table.open else otherwise
    return either((known, otherwise)) if key.value in table.maybe and call.method == "get" else known


def further_keywords(call: Call, known: tuple[str, ...]) -> Table:
    """What a call passes by keyword beyond these parameters: what `**kwargs` catches."""
    given = united(_keywords(call), apart=True)
    kept = {key: value for key, value in given.items.items() if key not in known}
    return Table(kept, given.written, given.maybe, given.open)


def _with_changes(program: Program, file: SourceFile, node: ast.expr, frame: Frame | None, parts: list[Value]) -> Value:
    """What is changed anywhere is in doubt everywhere: which use comes before which change is not looked at."""
    registered = program.registries.filled(node, frame)
    table = united([*parts, registered] if registered is not None else parts)
    doubts: list[Value] = []
    for target, given in _changes(program, file, node, frame):
        if isinstance(given, Call):
            doubts += _changed_by(given)
        elif registered is not None and target in program.registries.statements:
            continue
        else:
            place = target.slice if isinstance(target, ast.Subscript) else None
            changed = given.value if given is not None else UNKNOWN
            doubts.append(Table({place.value: changed}) if isinstance(place, ast.Constant) else UNKNOWN)
    if not doubts:
        return table
    later = perhaps(doubts)
    if later.open:
        table = united([table, Table({}, open=True)])
    items = dict(table.items)
    for name, value in later.items.items():
        if name in items or value is not NOTHING:
            items[name] = either((items[name], value)) if name in items else value
    written = {key: given for key, given in table.written.items() if key not in later.items}
    return Table(items, written, table.maybe | frozenset(later.items), table.open or later.open)


def _changed_by(call: Call) -> Iterator[Value]:
    if call.method == "update" and len(call.node.args) <= 1:
        yield from (call.at(arg).value for arg in call.node.args)
        yield from _keywords(call)
    elif call.method in ("setdefault", "pop") and call.node.args and isinstance(call.node.args[0], ast.Constant):
        key = call.node.args[0].value
        given = call.argument_value(1) if call.method == "setdefault" else NOTHING
        yield Table({key: given}, maybe=frozenset([key]))
    else:
        yield UNKNOWN


def _changes(
    program: Program, file: SourceFile, node: ast.expr, frame: Frame | None
) -> Iterator[tuple[ast.AST, Expression | None]]:
    """Every place of the file that changes a dictionary under the name that it is given where it is made."""
    statement = file.parent(node)
    while isinstance(statement, (ast.IfExp, ast.BoolOp)):
        statement = file.parent(statement)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    word = word_of(target)
    if not word or not any(word.encode() + mark in file.bytes for mark in (b"[", b".", b" |=")):
        return
    for bindings in file.index.items_in.values():
        for binding in bindings:
            changed = binding.node.value if isinstance(binding.node, ast.Subscript) else None
            if changed is not None and _is_it(file, changed, target, statement):
                plain = binding.value if binding.how == "assign" and not binding.steps else None
                yield binding.node, Expression(program, file, plain, frame) if plain is not None else None
    for method in CHANGING:
        for changing in file.index.calls.get(method, ()):
            func = changing.func
            if isinstance(func, ast.Attribute) and _is_it(file, func.value, target, statement):
                yield changing, Call(program, file, changing, frame)


def _is_it(file: SourceFile, used: ast.expr, target: ast.expr, statement: ast.stmt) -> bool:
    """May this use of a name mean what the statement gave the target?"""
    if word_of(used) != word_of(target) or used.__class__ is not target.__class__:
        return False
    if isinstance(used, ast.Name) and isinstance(target, ast.Name):
        scope, home = file.scope_of(used), file.scope_of(statement)
        if scope is not home:
            return used.id not in scope.bindings
        seen = reaching(file, scope.bindings.get(used.id, []), used, scope.node)
        return any(binding.node is statement for binding in seen)
    return True
