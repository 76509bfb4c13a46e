"""Dictionaries that decorators fill: `@register("small")` above a class, and `MODELS["small"]` somewhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from torchdx.source.definitions import UserFunction
from torchdx.source.expressions import Call, Expression
from torchdx.source.file import SourceFile
from torchdx.source.index import FUNCTIONS, Binding
from torchdx.source.names import module_name
from torchdx.source.values import Frame, Instance, Literal, Method, ModuleReference, Reference, Table, Value

if TYPE_CHECKING:
    from torchdx.source.program import Program

HANDS_BACK = re.compile(rb"\]\s*=\s*(\w+)\s+return \1\b")
"""As `table[name] = cls` and `return cls` end nearly every function that registers something."""
MOST_STEPS = 4


class Registrar(NamedTuple):
    """A function that keeps what it decorates in a dictionary, and hands it back as it is."""

    function: UserFunction
    table: ast.expr
    key: ast.expr
    statement: ast.AST


class Decorated(NamedTuple):
    """One use of a registrar above a class or function."""

    registrar: Registrar
    file: SourceFile
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    call: Call | None
    receiver: Value | None


class Registries:
    """All such dictionaries of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.is_busy = False

    @cached_property
    def registrars(self) -> dict[ast.AST, Registrar]:
        """Every function that registers, by its node."""
        found: dict[ast.AST, Registrar] = {}
        for file in self.program.files:
            if HANDS_BACK.search(file.bytes):
                for scope, bindings in file.index.items_in.items():
                    for binding in bindings if isinstance(scope, FUNCTIONS) else ():
                        registrar = self._registrar(file, self.program.function(file, scope), binding)
                        if registrar is not None:
                            found[registrar.function.node] = registrar
        return found

    def _registrar(self, file: SourceFile, inner: UserFunction, binding: Binding) -> Registrar | None:
        target, value = binding.node, binding.value
        if not isinstance(target, ast.Subscript) or not isinstance(value, ast.Name) or binding.how != "assign":
            return None
        returned = inner.returns
        first = next((name for name in inner.parameters if name != inner.self_name), None)
        if value.id != first or not returned or any(getattr(node, "id", None) != first for node in returned):
            return None
        outer = file.enclosing(inner.node, *FUNCTIONS)
        if outer is None:
            return Registrar(inner, target.value, target.slice, target)
        function = self.program.function(file, outer)
        gives = [getattr(node, "id", None) for node in function.returns]
        return Registrar(function, target.value, target.slice, target) if gives == [inner.name] else None

    @cached_property
    def statements(self) -> frozenset[ast.AST]:
        """The assignments that registrars make, all of which are accounted for."""
        return frozenset(one.statement for one in self.registrars.values())

    @cached_property
    def decorated(self) -> tuple[Decorated, ...]:
        """Everything that is registered."""
        self.is_busy = True  # what is asked about while this is found out is answered without it
        try:
            return tuple(self._decorated())
        finally:
            self.is_busy = False

    def _decorated(self) -> Iterator[Decorated]:
        words = {one.function.name for one in self.registrars.values()}
        marks = [word.encode() for word in words]
        for file in self.program.files if words else ():
            if b"@" not in file.bytes or not any(mark in file.bytes for mark in marks):
                continue
            for node in (*file.index.classes, *file.index.functions):
                for decorator in getattr(node, "decorator_list", ()):
                    func = decorator.func if isinstance(decorator, ast.Call) else decorator
                    word = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
                    found = self._use(file, node, decorator, func) if word in words else None
                    if found is not None:
                        yield found

    def _use(self, file: SourceFile, node: ast.AST, decorator: ast.expr, func: ast.expr) -> Decorated | None:
        value = self.program.evaluate(file, func)
        definition = value.definition if isinstance(value, Reference | Method) else None
        registrar = self.registrars.get(definition.node) if isinstance(definition, UserFunction) else None
        if registrar is None or isinstance(node, ast.Lambda):
            return None
        call = Call(self.program, file, decorator) if isinstance(decorator, ast.Call) else None
        assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        return Decorated(registrar, file, node, call, value.receiver if isinstance(value, Method) else None)

    def only_registers(self, function: UserFunction, strange: int) -> bool:
        """Do so many decorators of a function, those not known for anything else, do nothing but register it?"""
        return not self.is_busy and self._times.get(function.node, 0) == strange

    @cached_property
    def _times(self) -> dict[ast.AST, int]:
        found: dict[ast.AST, int] = {}
        for one in self.decorated:
            found[one.node] = found.get(one.node, 0) + 1
        return found

    def filled(self, node: ast.expr, frame: Frame | None) -> Table | None:
        """What is registered in the dictionary that is made here, of this object where it is an object's."""
        if self.is_busy or not self.registrars:
            return None
        of = frame.this.call.node if frame is not None and frame.this is not None and frame.this.call else None
        return self._tables.get((node, of))

    @cached_property
    def _tables(self) -> dict[tuple[ast.AST, ast.AST | None], Table]:
        found: dict[tuple[ast.AST, ast.AST | None], Table] = {}
        called = {one.call.node for one in self.decorated if one.call is not None}
        words = {one.function.name for one in self.registrars.values()}
        otherwise = any(call.node not in called for call in self.program.calls_named(*words))
        for one in self.decorated:
            home, key = self._home(one), self._key(one)
            if home is None:
                continue
            known = found.get(home, Table({}, open=otherwise))
            if isinstance(key, str) and key not in known.items:
                found[home] = Table({**known.items, key: self._entry(one)}, open=known.open)
            else:
                found[home] = Table(known.items, open=True)
        return found

    def _entry(self, one: Decorated) -> Value:
        name = f"{module_name(one.file)}.{one.node.name}"
        if isinstance(one.node, ast.ClassDef):
            return Reference(name, self.program.class_(one.file, one.node))
        return Reference(name, self.program.function(one.file, one.node))

    def _given(self, one: Decorated, node: ast.expr) -> Expression | None:
        """What a decorator's call passes for a parameter of the registrar, or its default."""
        function = one.registrar.function
        if one.call is None or not isinstance(node, ast.Name) or node.id not in function.parameters:
            return None
        return one.call.argument(function.place_of(node.id), node.id) or function.default_of(node.id)

    def _key(self, one: Decorated) -> object:
        """The key, where it is a string that the decorator is given, or the name of what it decorates."""
        key = one.registrar.key
        if isinstance(key, ast.Attribute) and key.attr in ("__name__", "__qualname__"):
            return one.node.name
        given = self._given(one, key)
        return given.value.value if given is not None and isinstance(given.value, Literal) else None

    def _home(self, one: Decorated) -> tuple[ast.AST, ast.AST | None] | None:
        """Where the dictionary is made, and of which object it is."""
        table, function = one.registrar.table, one.registrar.function
        if isinstance(table, ast.Attribute) and isinstance(table.value, ast.Name):
            owner = function.owner
            found = owner.attribute(table.attr) if owner is not None else []
            made = found[0][2].value if len(found) == 1 else None
            in_body = bool(found) and found[0][1] is None
            receiver = one.receiver
            of = receiver.call.node if isinstance(receiver, Instance) and receiver.call is not None else None
            return (made, None if in_body else of) if made is not None else None
        given = self._given(one, table)
        place = (given.file, given.node) if given is not None else (function.file, table)
        found_node = self._made(*place)
        return (found_node, None) if found_node is not None else None

    def _made(self, file: SourceFile, node: ast.expr | None, steps: int = 0) -> ast.expr | None:
        """The expression that makes the dictionary which a name stands for."""
        if isinstance(node, ast.Attribute):
            module = self.program.evaluate(file, node.value)
            return self._in_module(module.file, node.attr, steps) if isinstance(module, ModuleReference) else None
        if isinstance(node, ast.Name):
            found = self.program.names.binding(file, node)
            return self._bound(file, [found], steps) if isinstance(found, Binding) else None
        return node

    def _bound(self, file: SourceFile, bindings: Sequence[Binding], steps: int) -> ast.expr | None:
        if len(bindings) != 1 or bindings[0].steps or steps > MOST_STEPS:
            return None
        if bindings[0].how == "assign":
            return self._made(file, bindings[0].value, steps + 1)
        return self._bound(*self.program.names.variable(file, bindings[0].origin), steps + 1)

    def _in_module(self, file: SourceFile, name: str, steps: int) -> ast.expr | None:
        return self._bound(file, file.module_scope.bindings.get(name, ()), steps)
