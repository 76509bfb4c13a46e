"""What an expression may stand for, as far as reading can tell.

Values are symbolic: the result of an operation that is not stepped into remembers the operation and what went in, so
that a rule can ask where a number came from. `Unknown` is an honest and frequent answer.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchdx.source.definitions import UserClass, UserFunction
    from torchdx.source.expressions import Call, Expression
    from torchdx.source.file import SourceFile

MOST_ALTERNATIVES = 12
MOST_ITEMS = 1000
MODULE_BASES = (
    "torch.nn.Module",
    "pytorch_lightning.LightningModule",
    "lightning.LightningModule",
    "lightning.pytorch.LightningModule",
)
SCHEDULERS = "torch.optim.lr_scheduler."
CONTAINERS = ("torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict")


@dataclass(frozen=True, eq=False)
class Value:
    """The least that can be said; the kinds below say more."""

    @property
    def name(self) -> str:
        """The canonical dotted name of what this is, or of what made it; empty where there is none."""
        return ""

    def alternatives(self) -> tuple[Value, ...]:
        """Everything that it may be; just itself, unless it is an `Either`."""
        return (self,)


@dataclass(frozen=True, eq=False)
class Unknown(Value):
    """Nothing is known."""


@dataclass(frozen=True, eq=False)
class Nothing(Value):
    """No value at all: what a loop contributes to its own first round."""


UNKNOWN, NOTHING = Unknown(), Nothing()


@dataclass(frozen=True, eq=False)
class Literal(Value):
    """A number, string, truth value or None written in the source."""

    value: object


@dataclass(frozen=True, eq=False)
class Setting(Value):
    """Something that a person chooses from outside: a command-line option, an environment variable."""

    option: str
    default: Value = UNKNOWN


@dataclass(frozen=True, eq=False)
class Reference(Value):
    """A class or function itself, of the project (`definition`) or of a library."""

    dotted: str
    definition: UserClass | UserFunction | None = None

    @property
    def name(self) -> str:
        return self.dotted


@dataclass(frozen=True, eq=False)
class ModuleReference(Value):
    """A file of the project, as imported."""

    file: SourceFile


@dataclass(frozen=True, eq=False)
class Instance(Value):
    """An object: what it is an instance of, and the call that made it."""

    dotted: str
    call: Call | None = None
    definition: UserClass | None = None
    frames: dict[object, Frame] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.dotted

    @property
    def is_module(self) -> bool:
        """Is it a `torch.nn.Module`, the user's or torch's?"""
        if self.definition is not None:
            return self.definition.is_model
        return self.dotted.startswith("torch.nn.") and self.dotted not in ("torch.nn.Parameter", "torch.nn.Buffer")

    @property
    def is_loss(self) -> bool:
        return self.definition is None and self.dotted.startswith("torch.nn.") and self.dotted.endswith("Loss")

    @property
    def is_scheduler(self) -> bool:
        return self.is_a(SCHEDULERS)

    @property
    def is_optimizer(self) -> bool:
        return self.is_a("torch.optim.") and not self.is_scheduler

    @property
    def is_loader(self) -> bool:
        return self.is_a("torch.utils.data.DataLoader")

    def is_a(self, *names: str) -> bool:
        """Is it, or does it descend from, one of these? A name ending in a dot stands for everything under it."""
        kinds = self.definition.ancestry if self.definition is not None else (self.dotted,)
        return any(kind == name or (name[-1] == "." and kind.startswith(name)) for kind in kinds for name in names)


@dataclass(frozen=True, eq=False)
class Method(Value):
    """A method of the project, or of torch, bound to its object."""

    receiver: Value
    method: str
    definition: UserFunction | None = None

    @property
    def name(self) -> str:
        return f"{self.receiver.name or '?'}.{self.method}"


@dataclass(frozen=True, eq=False)
class Result(Value):
    """What a call gave that was not stepped into: a torch function, a tensor's method, a layer applied.

    `dotted` is the function's name, `torch.Tensor.NAME` for a tensor's method, the class name for a layer (which is
    then `module`); `?.NAME` is a method of something unknown.
    """

    dotted: str
    call: Call
    given: Value | None = None
    module: Instance | None = None

    @property
    def name(self) -> str:
        return self.dotted

    @property
    def home(self) -> Call:
        """Where it is written what is done: at the making of the layer, or at the call of a function or method."""
        return self.module.call if self.module is not None and self.module.call is not None else self.call

    @property
    def input(self) -> Value:
        """The tensor that went in: a method's receiver, a layer's or function's first argument."""
        if self.given is not None:
            return self.given
        first = self.call.argument(0, "input")
        return first.value if first is not None else UNKNOWN


@dataclass(frozen=True, eq=False)
class Operation(Value):
    """Arithmetic: `operator` is the ast class's name, such as "Add" or "Div"."""

    operator: str
    operands: tuple[Expression, ...]
    prior: Value | None = None

    def values(self) -> Iterator[Value]:
        """The operands' values, in order."""
        if self.prior is not None:
            yield self.prior
        for operand in self.operands:
            yield operand.value


@dataclass(frozen=True, eq=False)
class Item(Value):
    """A part of something: unpacked, indexed, an attribute, or (with key None) an element in a loop."""

    of: Value
    key: object = None

    @property
    def name(self) -> str:
        return f"{self.of.name or '?'}[{self.key}]"


@dataclass(frozen=True, eq=False)
class Group(Value):
    """A tuple or list. `open` when more or fewer items are possible than those listed."""

    items: tuple[Value, ...]
    open: bool = False

    def __post_init__(self) -> None:
        if len(self.items) > MOST_ITEMS:
            object.__setattr__(self, "items", self.items[:MOST_ITEMS])
            object.__setattr__(self, "open", True)


@dataclass(frozen=True, eq=False)
class Table(Value):
    """A dictionary with literal keys.

    `written` holds the expressions of its values where they are known, `maybe` the keys that may be missing or changed
    at one place or another; `open` when there may be others.
    """

    items: dict[object, Value]
    written: dict[object, Expression] = field(default_factory=dict)
    maybe: frozenset[object] = frozenset()
    open: bool = False


@dataclass(frozen=True, eq=False)
class Argument(Value):
    """A parameter whose value nobody in the project gives, or gives in too many ways."""

    parameter: str
    function: UserFunction


@dataclass(frozen=True, eq=False)
class Either(Value):
    """One of several, and reading cannot tell which."""

    choices: tuple[Value, ...]

    def alternatives(self) -> tuple[Value, ...]:
        return self.choices


@dataclass(eq=False)
class Frame:
    """One call of a function of the project: what was passed, on which object, and what is known inside it."""

    function: UserFunction
    call: Call | None = None
    this: Instance | None = None
    given: Value | None = None
    memo: dict[ast.AST, Value] = field(default_factory=dict)


def either(values: Iterable[Value]) -> Value:
    """One value for several: the only one, `Unknown` for too many, else an `Either`."""
    values = list(values)
    if len(values) == 1:
        return values[0]
    choices: dict[object, Value] = {}
    for value in values:
        for choice in value.alternatives():
            choices.setdefault(_identity(choice), choice)
    choices.pop("nothing", None)
    if len(choices) > MOST_ALTERNATIVES:
        return UNKNOWN
    if not choices:
        return NOTHING
    kept = tuple(choices.values())
    return kept[0] if len(kept) == 1 else Either(kept)


def united(values: Iterable[Value], apart: bool = False) -> Table:
    """The dictionary that holds what several together hold, a later one winning: `{**one, **other}`.

    What a later one holds that is not known may win, too, unless no two of them can have the same key (`apart`).
    """
    items: dict[object, Value] = {}
    written: dict[object, Expression] = {}
    maybe: set[object] = set()
    is_open = False
    for value in values:
        table = _common(value)
        if table.open and not apart:
            items = {key: either((known, UNKNOWN)) for key, known in items.items()}
            written, maybe = {}, maybe | set(items)
        for key, inner in table.items.items():
            doubtful = key in table.maybe
            items[key] = either((items[key], inner)) if doubtful and key in items else inner
            written.pop(key, None)
            if key in table.written and not doubtful:
                written[key] = table.written[key]
            maybe.discard(key)
            if doubtful:
                maybe.add(key)
        is_open |= table.open
    return Table(items, written, frozenset(maybe), is_open)


def perhaps(values: Iterable[Value]) -> Table:
    """The dictionary of what any of several may set, in whatever order: nothing in it is certain."""
    found: dict[object, list[Value]] = {}
    is_open = False
    for table in map(_common, values):
        is_open |= table.open
        for key, inner in table.items.items():
            found.setdefault(key, []).append(inner)
    return Table({key: either(each) for key, each in found.items()}, {}, frozenset(found), is_open)


def _common(value: Value) -> Table:
    """One dictionary for all that a value may be: what is not in each of them the same may be missing."""
    tables = [choice for choice in value.alternatives() if isinstance(choice, Table)]
    if len(tables) == 1 and len(value.alternatives()) == 1:
        return tables[0]
    keys = list(dict.fromkeys(key for table in tables for key in table.items))
    items = {key: either(table.items[key] for table in tables if key in table.items) for key in keys}
    return Table(items, {}, frozenset(keys), len(tables) < len(value.alternatives()) or any(t.open for t in tables))


def _identity(value: Value) -> object:
    if isinstance(value, Nothing):
        return "nothing"
    if isinstance(value, Unknown):
        return "unknown"
    if isinstance(value, Literal):
        return type(value.value), repr(value.value)
    if isinstance(value, Reference):
        return value.definition or value.dotted
    if isinstance(value, Instance):
        return value.definition or value.dotted, value.call.node if value.call else None
    if isinstance(value, Argument):
        return value.parameter, value.function
    return id(value)


def literal(value: Value) -> object | None:
    """The number, string or truth value that this certainly is, or None."""
    return value.value if isinstance(value, Literal) else None
