"""What containers hold: lists as they grow, `nn.Sequential`, what a loop takes out of something."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.expressions import Call
from torchdx.source.file import SourceFile
from torchdx.source.flow import reaching
from torchdx.source.index import LOOPS
from torchdx.source.values import (
    UNKNOWN,
    Either,
    Frame,
    Group,
    Instance,
    Item,
    Result,
    Table,
    Value,
    either,
)

if TYPE_CHECKING:
    from torchdx.source.program import Program

GROWING = ("append", "extend", "add_module", "insert")


def element_of(value: Value) -> Value:
    """What a loop over the value takes out of it."""
    if isinstance(value, Either):
        return either(element_of(choice) for choice in value.choices)
    if isinstance(value, Group):
        return either(value.items)
    if isinstance(value, Table):
        return UNKNOWN
    if isinstance(value, Result) and value.dotted == "enumerate":
        return Group((UNKNOWN, element_of(value.input)))
    if isinstance(value, Result) and value.dotted == "zip":
        return Group(tuple(element_of(argument.value) for argument in value.call.arguments()))
    if isinstance(value, Instance) and value.dotted == "torch.nn.ModuleList":
        held, _ = contents(value)
        return either(held) if held else UNKNOWN
    if isinstance(value, Instance) and value.is_loader and value.call is not None:
        return value.call.program.batch_of(value)
    return Item(value) if value is not UNKNOWN else UNKNOWN


def part_of(value: Value, key: object) -> Value:
    """The value at an index or key; an index that is not known is `...`."""
    if isinstance(value, Either):
        return either(part_of(choice, key) for choice in value.choices)
    if isinstance(value, Group):
        if isinstance(key, int) and not value.open and -len(value.items) <= key < len(value.items):
            return value.items[key]
        return either(value.items) if key is ... else UNKNOWN
    if isinstance(value, Table):
        return value.items.get(key, UNKNOWN) if isinstance(key, (str, int)) else either(value.items.values())
    if isinstance(value, Instance) and value.dotted in ("torch.nn.ModuleList", "torch.nn.Sequential"):
        held, is_open = contents(value)
        return part_of(Group(held, is_open), key)
    return Item(value, key) if value is not UNKNOWN else UNKNOWN


def slice_of(value: Value, bounds: ast.Slice) -> Value:
    """What a slice of the value holds: of a list or container some of its items, of a tensor a part of it."""
    if isinstance(value, Instance) and value.dotted in ("torch.nn.ModuleList", "torch.nn.Sequential"):
        value = Group(*contents(value))
    if not isinstance(value, Group):
        return part_of(value, ...)
    lower, upper = (bound.value if isinstance(bound, ast.Constant) else bound for bound in (bounds.lower, bounds.upper))
    whole = (int, type(None))
    if value.open or bounds.step is not None or not isinstance(lower, whole) or not isinstance(upper, whole):
        return Group(value.items, open=True)
    return Group(value.items[lower:upper])


def contents(instance: Instance) -> tuple[tuple[Value, ...], bool]:
    """What a Sequential, ModuleList or ModuleDict holds, in order, and whether it might be more or less."""
    call = instance.call
    if call is None:
        return (), True
    items: list[Value] = []
    is_open = False
    for argument in call.node.args:
        starred = isinstance(argument, ast.Starred)
        value = call.at(argument.value if isinstance(argument, ast.Starred) else argument).value
        flat, uncertain = _flat(value, starred or not instance.dotted.endswith("Sequential"))
        items += flat
        is_open |= uncertain
    more, uncertain = additions(call.program, call.file, call.node, call.frame)
    return (*items, *more), is_open or uncertain


def _flat(value: Value, spread: bool) -> tuple[tuple[Value, ...], bool]:
    if isinstance(value, Instance) and value.dotted == "collections.OrderedDict" and value.call is not None:
        pairs = value.call.argument_value(0)
        if isinstance(pairs, Group):
            return tuple(part_of(pair, 1) for pair in pairs.items), pairs.open
        value, spread = pairs, True
    if isinstance(value, Table):
        return tuple(value.items.values()), value.open or bool(value.maybe)
    if not spread:
        return (value,), False
    groups = [choice for choice in value.alternatives() if isinstance(choice, Group)]
    if not groups:
        return (UNKNOWN,), True
    longest = max(groups, key=lambda group: len(group.items))
    return longest.items, longest.open or len(value.alternatives()) > 1


def contents_of_list(value: Value) -> tuple[Value, ...]:
    """The items of a list that is certainly just so; nothing otherwise."""
    return value.items if isinstance(value, Group) and not value.open else ()


def additions(
    program: Program, file: SourceFile, node: ast.expr, frame: Frame | None
) -> tuple[tuple[Value, ...], bool]:
    """What is appended, by calls, to a list or container that is made and named here."""
    statement = file.parent(node)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return (), False
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    items: list[Value] = []
    is_open = False
    for call in _growing(program, file, statement, target, frame):
        values, uncertain = _added(call)
        if any(isinstance(above, LOOPS) for above in _between(file, call.node, statement)):
            is_open = True
        elif any(isinstance(above, ast.If) for above in _between(file, call.node, statement)):
            values, is_open = tuple(either((value, UNKNOWN)) for value in values), True
        items += values
        is_open |= uncertain
    return tuple(items), is_open


def _between(file: SourceFile, node: ast.AST, statement: ast.AST) -> Iterator[ast.AST]:
    around = set(file.ancestors(statement))
    return (above for above in file.ancestors(node) if above not in around)


def _added(call: Call) -> tuple[tuple[Value, ...], bool]:
    if call.method == "extend":
        return _flat(call.argument_value(0), True)
    return (call.argument_value(1 if call.method in ("add_module", "insert") else 0, "module"),), False


def _growing(
    program: Program, file: SourceFile, statement: ast.stmt, target: ast.expr, frame: Frame | None
) -> Iterator[Call]:
    if not isinstance(target, (ast.Name, ast.Attribute)):
        return
    wanted = ast.dump(target).replace("Store()", "Load()")
    scope = file.scope_of(statement)
    for node in file.index.calls_in.get(scope.node, ()):
        func = node.func
        if not isinstance(func, ast.Attribute) or func.attr not in GROWING or ast.dump(func.value) != wanted:
            continue
        if isinstance(target, ast.Name):
            seen = reaching(file, scope.bindings.get(target.id, []), node, scope.node)
            if not any(binding.node is statement for binding in seen):
                continue
        yield Call(program, file, node, frame)
