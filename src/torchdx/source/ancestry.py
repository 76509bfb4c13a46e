"""What a value was computed from, and which values a program computes gradients of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.values import UNKNOWN, Either, Group, Instance, Item, Operation, Result, Table, Value
from torchdx.source.walks import reached

if TYPE_CHECKING:
    from torchdx.source.file import SourceFile
    from torchdx.source.program import Program


def ancestry_of(value: Value) -> Iterator[Value]:
    """The value and everything that it was computed from, back to the layers of models, the nearest first."""
    return (one for one in reached(value, _parents) if one is not UNKNOWN)


def _parents(value: Value) -> Iterator[Value]:
    if isinstance(value, Either):
        yield from value.choices
    elif isinstance(value, Item):
        yield value.of
    elif isinstance(value, Group):
        yield from value.items
    elif isinstance(value, Table):
        yield from value.items.values()
    elif isinstance(value, Operation):
        yield from value.values()
    elif isinstance(value, Result) and (value.module is None or value.dotted.endswith("Loss")):
        if value.given is not None and not isinstance(value.given, Instance):
            yield value.given
        yield from (argument.value for argument in value.call.arguments())


def losses_trained_on(program: Program, first: frozenset[SourceFile] = frozenset()) -> Iterator[Value]:
    """What `backward` is called on, those in some files first, and what a Lightning `training_step` returns."""
    for call in sorted(program.calls_named("backward", "manual_backward"), key=lambda call: call.file not in first):
        if call.method == "backward" and call.receiver is not None and not call.node.args:
            yield call.receiver.value
        elif call.node.args:
            yield call.argument_value(0)
    for definition in program.classes() if _is_lightning(program) else ():
        step = definition.method("training_step")
        if step is not None and step.owner is definition:
            yield from (program.evaluate(definition.file, node) for node in step.returns)


def _is_lightning(program: Program) -> bool:
    return any(b"training_step" in file.bytes for file in program.torch_files)
