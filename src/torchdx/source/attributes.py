"""What a dot and a name lead to: members of modules and classes, attributes set in any method, inherited ones."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from torchdx.source import calling
from torchdx.source.definitions import UserClass
from torchdx.source.expressions import Expression
from torchdx.source.file import SourceFile
from torchdx.source.names import canonical
from torchdx.source.values import (
    UNKNOWN,
    Frame,
    Instance,
    Literal,
    Method,
    ModuleReference,
    Reference,
    Result,
    Setting,
    Value,
    either,
)

if TYPE_CHECKING:
    from torchdx.source.evaluate import Evaluator

NAMESPACES = ("argparse.Namespace", "types.SimpleNamespace")


def attribute_of(
    evaluator: Evaluator, value: Value, name: str, use: ast.AST | None = None, file: SourceFile | None = None
) -> Value:
    """What a dot and a name lead to from a value."""
    if isinstance(value, ModuleReference):
        known = evaluator.program.names.member(value, name)
        bindings = value.file.module_scope.bindings.get(name, ())
        return known or either(evaluator.bound(value.file, binding, None) for binding in bindings)
    if isinstance(value, Reference) and value.definition is None:
        if value.dotted in ("os.environ", "sys.argv"):
            return Setting(name)
        found = Reference(canonical(f"{value.dotted}.{name}"))
        return (evaluator.program.names.in_bare_folder(file, found) if file is not None else found) or found
    if isinstance(value, Reference) and isinstance(value.definition, UserClass):
        method = value.definition.method(name)
        if method is not None:
            return Reference(f"{value.dotted}.{name}", method)
        return _assigned(evaluator, evaluator.this(value.definition), value.definition, name, None) or UNKNOWN
    if isinstance(value, Instance) and value.dotted in NAMESPACES and value.call is not None:
        given = value.call.argument(None, name) if value.call.name == value.dotted else None
        if given is not None:
            return given.value
    if isinstance(value, Instance) and value.dotted == "argparse.Namespace":
        return evaluator.program.setting(value, name)
    if isinstance(value, Instance) and value.definition is not None:
        return _member(evaluator, value, value.definition, name, use, file)
    if isinstance(value, Result) and value.dotted == "super":
        return _inherited(evaluator, value, name)
    return Method(value, name)


def _member(
    evaluator: Evaluator, value: Instance, cls: UserClass, name: str, use: ast.AST | None, file: SourceFile | None
) -> Value:
    if cls.fields is not None and name in cls.fields:
        return _field(value, cls, cls.fields, name)
    assigned = _assigned(evaluator, value, cls, name, use if file is cls.file else None)
    if assigned is not None:
        return assigned
    method = cls.method(name)
    if method is None:
        given = value.call.argument(None, name) if value.call is not None and not cls.method("__init__") else None
        if given is not None:
            return given.value
        return value if name == "module" and value.is_module else Method(value, name)
    if any(word.rpartition(".")[2] in ("property", "cached_property") for word in method.decorators):
        return calling.returned(Frame(method, this=value))
    if "staticmethod" in method.decorators:
        return Reference(f"{value.dotted}.{name}", method)
    return Method(value, name, method)


def _field(value: Instance, cls: UserClass, fields: dict[str, Expression | None], name: str) -> Value:
    """What a field of a record holds: what the constructor is given for it, or its default."""
    default = fields[name]
    usual = default.value if default is not None else UNKNOWN
    if value.call is None:
        return either((usual, UNKNOWN))
    given = value.call.argument(list(fields).index(name), name)
    if given is not None:
        return given.value
    return usual if value.call.is_certain else UNKNOWN


def _assigned(evaluator: Evaluator, value: Instance, cls: UserClass, name: str, use: ast.AST | None) -> Value | None:
    found = cls.attribute(name, use)
    if not found:
        return None
    values = [evaluator.bound(owner.file, binding, calling.frame_of(value, method)) for owner, method, binding in found]
    kept = [v for v in values if not (isinstance(v, Literal) and v.value is None)]
    return either(kept or values)


def _inherited(evaluator: Evaluator, value: Result, name: str) -> Value:
    function = value.call.function
    owner = function.owner if function is not None else None
    if owner is None:
        return UNKNOWN
    this = value.call.frame.this if value.call.frame is not None and value.call.frame.this else evaluator.this(owner)
    for ancestor in owner.lineage[1:]:
        method = next((method for method in ancestor.own_methods if method.name == name), None)
        if method is not None:
            return Method(this, name, method)
    return Method(value, name)
