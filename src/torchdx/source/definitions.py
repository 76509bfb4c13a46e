"""The project's own functions and classes, and what a class inherits."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from torchdx.finding import Site
from torchdx.source.expressions import Call, Expression
from torchdx.source.file import SourceFile
from torchdx.source.flow import reaching, surviving
from torchdx.source.index import FUNCTIONS, Binding, FunctionNode, parameters
from torchdx.source.values import MODULE_BASES, Reference

if TYPE_CHECKING:
    from torchdx.source.program import Program

RECORDS = ("dataclasses.dataclass", "typing.NamedTuple", "pydantic.BaseModel", "pydantic.dataclasses.dataclass")


class UserFunction:
    """A function, method or lambda of the project."""

    def __init__(self, program: Program, file: SourceFile, node: FunctionNode) -> None:
        self.program, self.file, self.node = program, file, node

    def __repr__(self) -> str:
        return f"UserFunction({self.name!r} at {self.site})"

    @property
    def name(self) -> str:
        return "lambda" if isinstance(self.node, ast.Lambda) else self.node.name

    @property
    def site(self) -> Site:
        return self.file.site(self.node)

    @cached_property
    def owner(self) -> UserClass | None:
        """The class it is a method of."""
        above = self.file.parent(self.node)
        while isinstance(above, (ast.If, ast.Try)):
            above = self.file.parent(above)
        return self.program.class_(self.file, above) if isinstance(above, ast.ClassDef) else None

    @cached_property
    def decorators(self) -> tuple[str, ...]:
        """The canonical names of its decorators, called or not."""
        return tuple(self._decorators())

    def _decorators(self) -> Iterator[str]:
        for node in getattr(self.node, "decorator_list", []):
            found = self.program.resolve(self.file, node.func if isinstance(node, ast.Call) else node)
            yield found.name if found else ""

    @property
    def self_name(self) -> str | None:
        """What it calls its own object, where it is a method of an object."""
        if self.owner is None or "staticmethod" in self.decorators or "classmethod" in self.decorators:
            return None
        names = self.parameters
        return names[0] if names else None

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        return tuple(arg.arg for arg in parameters(self.node))

    def default_of(self, parameter: str) -> Expression | None:
        """The default of a parameter."""
        given = self.node.args
        positional = [*given.posonlyargs, *given.args]
        pairs = [
            *zip(reversed(positional), reversed(given.defaults), strict=False),
            *zip(given.kwonlyargs, given.kw_defaults, strict=True),
        ]
        node = next((default for arg, default in pairs if arg.arg == parameter), None)
        return Expression(self.program, self.file, node) if node is not None else None

    def place_of(self, parameter: str) -> int | None:
        """The parameter's place among positional arguments as a caller counts them; None if by keyword only."""
        positional = [arg.arg for arg in (*self.node.args.posonlyargs, *self.node.args.args)]
        if parameter not in positional:
            return None
        bound = self.owner is not None and "staticmethod" not in self.decorators
        place = positional.index(parameter) - bound
        return place if place >= 0 else None

    @property
    def returns(self) -> list[ast.expr]:
        """Every expression it returns."""
        return self.file.index.returns.get(self.node, [])

    @property
    def is_generator(self) -> bool:
        return self.node in self.file.index.generators

    def calls(self) -> Iterator[Call]:
        """Every call in its body, in source order, those in functions inside it left out."""
        yield from self.program.calls_in(self.file, self.node)


class UserClass:
    """A class of the project."""

    def __init__(self, program: Program, file: SourceFile, node: ast.ClassDef) -> None:
        self.program, self.file, self.node = program, file, node

    def __repr__(self) -> str:
        return f"UserClass({self.name!r} at {self.site})"

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def site(self) -> Site:
        return self.file.site(self.node)

    @cached_property
    def bases(self) -> tuple[UserClass | str, ...]:
        """What it is derived from: classes of the project, or names of a library's ("" where not known)."""
        return tuple(self._base(node) for node in self.node.bases)

    def _base(self, node: ast.expr) -> UserClass | str:
        found = self.program.resolve(self.file, node)
        if not isinstance(found, Reference):
            return ""
        return found.definition if isinstance(found.definition, UserClass) else found.name

    @cached_property
    def lineage(self) -> tuple[UserClass, ...]:
        """Itself and its ancestors within the project, the nearest first."""
        found: dict[UserClass, None] = {self: None}
        queue = [base for base in self.bases if isinstance(base, UserClass)]
        while queue:
            ancestor = queue.pop(0)
            if ancestor not in found:
                found[ancestor] = None
                queue.extend(base for base in ancestor.bases if isinstance(base, UserClass))
        return tuple(found)

    @cached_property
    def ancestry(self) -> frozenset[str]:
        """The library classes that it descends from; "" among them where an ancestor is not known."""
        return frozenset(base for cls in self.lineage for base in cls.bases if isinstance(base, str))

    @property
    def is_model(self) -> bool:
        """Is it a `torch.nn.Module`?"""
        return any(name in MODULE_BASES or name.startswith("torch.nn.") for name in self.ancestry)

    @cached_property
    def fields(self) -> dict[str, Expression | None] | None:
        """The fields of a dataclass or named tuple with their defaults, in order; None where it is neither."""
        decorators = [node.func if isinstance(node, ast.Call) else node for node in self.node.decorator_list]
        named = [self.program.resolve(self.file, node) for node in decorators]
        if not any(found is not None and found.name in RECORDS for found in named) and not self.ancestry & set(RECORDS):
            return None
        found: dict[str, Expression | None] = {}
        for cls in reversed(self.lineage):
            for node in cls.node.body:
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    found[node.target.id] = cls._default(node.value)
        return found

    def _default(self, node: ast.expr | None) -> Expression | None:
        if isinstance(node, ast.Call) and self.program.resolve(self.file, node.func) is not None:
            call = Call(self.program, self.file, node)
            if call.name == "dataclasses.field":
                return call.argument(None, "default")
        return Expression(self.program, self.file, node) if node is not None else None

    @property
    def own_methods(self) -> Iterator[UserFunction]:
        """The methods written in the class itself."""
        scope = self.file.index.scopes.get(self.node)
        for bindings in scope.bindings.values() if scope is not None else ():
            for binding in bindings:
                if binding.how == "def" and isinstance(binding.node, FUNCTIONS):
                    yield self.program.function(self.file, binding.node)

    @cached_property
    def _methods(self) -> dict[str, UserFunction]:
        found: dict[str, UserFunction] = {}
        for cls in reversed(self.lineage):
            found.update((method.name, method) for method in cls.own_methods)
        return found

    def method(self, name: str) -> UserFunction | None:
        """The method of this name, its own or inherited within the project."""
        return self._methods.get(name)

    def methods(self) -> Iterator[UserFunction]:
        """Every method, own and inherited within the project."""
        yield from self._methods.values()

    @cached_property
    def own_attributes(self) -> dict[str, list[tuple[UserFunction | None, Binding]]]:
        """What is assigned to its object's attributes (`self.x = ...`) and in its body, in source order."""
        found: dict[str, list[tuple[UserFunction | None, Binding]]] = {}
        scope = self.file.index.scopes.get(self.node)
        for name, bindings in scope.bindings.items() if scope is not None else ():
            found[name] = [(None, binding) for binding in bindings if binding.how == "assign"]
        for method in self.own_methods:
            for binding in self.program.attributes_in(method):
                target = binding.node
                if (
                    isinstance(target, ast.Attribute)
                    and isinstance(target.value, ast.Name)
                    and target.value.id == method.self_name
                ):
                    found.setdefault(binding.name, []).append((method, binding))
        return {name: bindings for name, bindings in found.items() if bindings}

    def attribute(self, name: str, use: ast.AST | None = None) -> list[tuple[UserClass, UserFunction | None, Binding]]:
        """The assignments an attribute may have its value from; those that a use in the same method sees, if given."""
        for cls in self.lineage:
            found = cls.own_attributes.get(name)
            if found:
                return [(cls, method, binding) for method, binding in cls._seen(found, use)]
        return []

    def _seen(
        self, found: list[tuple[UserFunction | None, Binding]], use: ast.AST | None
    ) -> list[tuple[UserFunction | None, Binding]]:
        by_method: dict[UserFunction | None, list[Binding]] = {}
        for method, binding in found:
            by_method.setdefault(method, []).append(binding)
        if use is not None and len(found) > 1:
            around = self.file.enclosing(use, *FUNCTIONS)
            home = next((method for method in by_method if method is not None and method.node is around), None)
            if home is not None and len(by_method[home]) > 1:
                return [(home, binding) for binding in reaching(self.file, by_method[home], use, home.node)]
        return [
            (method, binding)
            for method, bindings in by_method.items()
            for binding in surviving(self.file, bindings, method.node if method else self.node)
        ]
