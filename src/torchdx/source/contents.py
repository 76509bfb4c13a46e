"""What containers hold: lists as they grow, `nn.Sequential`, what a loop takes out of something."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from torchdx.source.file import SourceFile
from torchdx.source.growth import Holding, grown, is_assigned
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
    lower, upper = _bound(bounds.lower), _bound(bounds.upper)
    whole = (int, type(None))
    if bounds.step is not None or not isinstance(lower, whole) or not isinstance(upper, whole):
        return _uncertain(value)
    if not value.open:
        return Group(value.items[lower:upper])
    if upper is not None and not -len(value.items) < upper < 0:  # of what may be longer, only its end is known
        return _uncertain(value)
    return Group(value.items[:upper], open=True)


def _bound(bound: ast.expr | None) -> object:
    """An end of a slice: a number, None, or whatever else stands there."""
    if isinstance(bound, ast.UnaryOp) and isinstance(bound.op, ast.USub) and isinstance(bound.operand, ast.Constant):
        return -bound.operand.value if isinstance(bound.operand.value, int) else bound
    return bound.value if isinstance(bound, ast.Constant) else bound


def _uncertain(group: Group) -> Group:
    """A part of a group, nobody knows which: any item may be its last."""
    return Group((*group.items[:-1], either((group.items[-1], UNKNOWN))) if group.items else (UNKNOWN,), open=True)


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
    held = grown(call.program, call.file, call.node, call.frame, Holding(items, is_open), _flat)
    return tuple(held.items), held.is_open


def after_changes(program: Program, file: SourceFile, node: ast.expr, frame: Frame | None, value: Value) -> Value:
    """A list that an expression gives, after all that is done to it under the name it is assigned to."""
    choices = value.alternatives()
    if not is_assigned(file, node) or not any(isinstance(choice, Group) for choice in choices):
        return value
    return either(
        Group(*grown(program, file, node, frame, Holding(list(choice.items), choice.open), _flat).parts)
        if isinstance(choice, Group)
        else choice
        for choice in choices
    )


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
