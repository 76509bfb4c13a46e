"""One walk over a file's tree: who is whose parent, and what each scope binds, calls and defines.

Everything that costs more than a look at a node's class is left for later, when somebody asks.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torchdx.source.reading import words

How = Literal["assign", "augment", "element", "enter", "import", "star", "def", "class", "parameter", "other"]
FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
LoopNode: TypeAlias = ast.For | ast.AsyncFor | ast.While
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
LOOPS = (ast.For, ast.AsyncFor, ast.While)


@dataclass(slots=True, eq=False)
class Binding:
    """One place where a name, or an attribute, gets a value.

    `steps` says which part of the value is taken when it is unpacked: (1, 0) for `b` in `a, (b, c) = value`.
    """

    name: str
    node: ast.AST
    value: ast.expr | None
    how: How
    steps: tuple[int, ...] = ()
    origin: str = ""


@dataclass(slots=True, eq=False)
class Scope:
    """A module, class or function and the names that it binds, in order."""

    node: ast.AST
    parent: Scope | None
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    foreign: dict[str, Scope] = field(default_factory=dict)

    @property
    def is_class(self) -> bool:
        return isinstance(self.node, ast.ClassDef)

    @property
    def is_function(self) -> bool:
        return isinstance(self.node, FUNCTIONS)

    def bind(self, binding: Binding) -> None:
        """Remember one more place where the name gets a value."""
        home = self.foreign.get(binding.name, self)
        home.bindings.setdefault(binding.name, []).append(binding)


@dataclass(slots=True, eq=False)
class Index:
    """What the walk over one tree found."""

    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    scopes: dict[ast.AST, Scope] = field(default_factory=dict)
    calls: dict[str, list[ast.Call]] = field(default_factory=dict)
    calls_in: dict[ast.AST, list[ast.Call]] = field(default_factory=dict)
    attributes_in: dict[ast.AST, list[Binding]] = field(default_factory=dict)
    items_in: dict[ast.AST, list[Binding]] = field(default_factory=dict)
    deleted_in: dict[ast.AST, list[Binding]] = field(default_factory=dict)
    functions: list[FunctionNode] = field(default_factory=list)
    classes: list[ast.ClassDef] = field(default_factory=list)
    loops: list[LoopNode] = field(default_factory=list)
    returns: dict[ast.AST, list[ast.expr]] = field(default_factory=dict)
    comprehended: set[str] = field(default_factory=set)
    generators: set[ast.AST] = field(default_factory=set)


_NOT_NODES = words("ctx id kind op ops attr arg names level module type_comment is_async simple conversion type_params")
_HEAD = ("decorator_list", "bases", "keywords", "args")
"""The fields of a definition that are worked out around it, and not when its body runs."""
_LEAVES = (ast.Name, ast.Constant, ast.Pass, ast.Break, ast.Continue)
_fields_of: dict[type[ast.AST], tuple[str, ...]] = dict.fromkeys(_LEAVES, ())


def _children_fields(kind: type[ast.AST]) -> tuple[str, ...]:
    fields = tuple(name for name in reversed(kind._fields) if name not in _NOT_NODES)
    _fields_of[kind] = fields
    return fields


def index(tree: ast.Module) -> Index:
    """Walk the tree once and say what is in it."""
    return _Walk(tree).found


class _Walk:
    def __init__(self, tree: ast.Module) -> None:
        self.found = Index()
        self.module = Scope(tree, None)
        self.found.scopes[tree] = self.module
        self.pending: list[Scope] = [self.module]
        self.on = {
            ast.Call: self.call,
            ast.Assign: self.assign,
            ast.AnnAssign: self.annotated,
            ast.NamedExpr: self.annotated,
            ast.AugAssign: self.augmented,
            ast.Return: self.returned,
            ast.Yield: self.yielded,
            ast.YieldFrom: self.yielded,
            ast.Import: self.imported,
            ast.ImportFrom: self.imported_from,
            ast.For: self.loop,
            ast.AsyncFor: self.loop,
            ast.While: self.loop,
            ast.withitem: self.entered,
            ast.FunctionDef: self.function,
            ast.AsyncFunctionDef: self.function,
            ast.Lambda: self.function,
            ast.ClassDef: self.class_,
            ast.Global: self.declared,
            ast.Nonlocal: self.declared,
            ast.ExceptHandler: self.caught,
            ast.comprehension: self.comprehended,
            ast.If: self.branch,
            ast.Delete: self.deleted,
        }
        for scope in self.pending:
            self.walk(scope)

    def walk(self, scope: Scope) -> None:
        """Visit, in source order, all nodes of one scope; those of the scopes inside wait for their turn."""
        parents, on, fields_of, leaves = self.found.parents, self.on, _fields_of, _LEAVES
        root = scope.node
        stack: list[ast.AST] = []
        body = getattr(root, "body", [])
        for item in [body] if isinstance(body, ast.AST) else reversed(body):
            parents[item] = root
            stack.append(item)
        while stack:
            node = stack.pop()
            kind = node.__class__
            visit = on.get(kind)
            fields: tuple[str, ...] | None = visit(node, scope) if visit is not None else None  # type: ignore[operator]
            if fields is None:
                fields = fields_of.get(kind) or _children_fields(kind)
            for name in fields:
                child = getattr(node, name, None)
                if child.__class__ is list:
                    for item in reversed(child):
                        if isinstance(item, ast.AST):
                            parents[item] = node
                            if item.__class__ not in leaves:
                                stack.append(item)
                elif isinstance(child, ast.AST):
                    parents[child] = node
                    if child.__class__ not in leaves:
                        stack.append(child)

    def call(self, node: ast.Call, scope: Scope) -> None:
        func = node.func
        if isinstance(func, ast.Attribute):
            self.found.calls.setdefault(func.attr, []).append(node)
        elif isinstance(func, ast.Name):
            self.found.calls.setdefault(func.id, []).append(node)
        else:
            self.found.calls.setdefault("", []).append(node)
        self.found.calls_in.setdefault(scope.node, []).append(node)

    def assign(self, node: ast.Assign, scope: Scope) -> None:
        for target in node.targets:
            self.target(target, node, node.value, "assign", (), scope)

    def annotated(self, node: ast.AnnAssign | ast.NamedExpr, scope: Scope) -> None:
        self.target(node.target, node, node.value, "assign", (), scope)

    def augmented(self, node: ast.AugAssign, scope: Scope) -> None:
        self.target(node.target, node, node.value, "augment", (), scope)

    def loop(self, node: LoopNode, scope: Scope) -> None:
        self.found.loops.append(node)
        if not isinstance(node, ast.While):
            self.target(node.target, node, node.iter, "element", (), scope)

    def entered(self, node: ast.withitem, scope: Scope) -> None:
        if node.optional_vars is not None:
            self.target(node.optional_vars, node, node.context_expr, "enter", (), scope)

    def caught(self, node: ast.ExceptHandler, scope: Scope) -> None:
        if node.name:
            scope.bind(Binding(node.name, node, None, "other"))

    def comprehended(self, node: ast.comprehension, scope: Scope) -> None:
        self.found.comprehended.update(name.id for name in ast.walk(node.target) if isinstance(name, ast.Name))

    def target(
        self, target: ast.AST, node: ast.AST, value: ast.expr | None, how: How, steps: tuple[int, ...], scope: Scope
    ) -> None:
        """Bind whatever a target names to its part of the value."""
        if isinstance(target, ast.Name):
            scope.bind(Binding(target.id, node, value, how, steps))
        elif isinstance(target, ast.Attribute):
            binding = Binding(target.attr, target, value, how, steps)
            self.found.attributes_in.setdefault(scope.node, []).append(binding)
        elif isinstance(target, ast.Subscript):
            self.found.items_in.setdefault(scope.node, []).append(Binding("", target, value, how, steps))
        elif isinstance(target, (ast.Tuple, ast.List)):
            for place, part in enumerate(target.elts):
                self.target(part, node, value, how, (*steps, place), scope)
        elif isinstance(target, ast.Starred):
            self.target(target.value, node, None, "other", (), scope)

    def deleted(self, node: ast.Delete, scope: Scope) -> None:
        gone = [Binding("", target, None, "other") for target in node.targets if isinstance(target, ast.Subscript)]
        self.found.deleted_in.setdefault(scope.node, []).extend(gone)

    def returned(self, node: ast.Return, scope: Scope) -> None:
        if node.value is not None:
            self.found.returns.setdefault(scope.node, []).append(node.value)

    def yielded(self, node: ast.Yield | ast.YieldFrom, scope: Scope) -> None:
        self.found.generators.add(scope.node)

    def imported(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            scope.bind(Binding(name, node, None, "import", (), alias.name if alias.asname else name))

    def imported_from(self, node: ast.ImportFrom, scope: Scope) -> None:
        base = "." * node.level + (node.module or "")
        joint = "" if base.endswith(".") or not base else "."
        for alias in node.names:
            if alias.name == "*":
                scope.bind(Binding("*", node, None, "star", (), base))
            else:
                scope.bind(Binding(alias.asname or alias.name, node, None, "import", (), f"{base}{joint}{alias.name}"))

    def branch(self, node: ast.If, scope: Scope) -> tuple[str, ...] | None:
        """Of `if True:` and `if 0:`, which people use to switch code off, only what can run is looked at."""
        if isinstance(node.test, ast.Constant):
            return ("body", "test") if node.test.value else ("orelse", "test")
        return None

    def function(self, node: FunctionNode, scope: Scope) -> tuple[str, ...]:
        inner = Scope(node, scope)
        self.found.functions.append(node)
        self.found.scopes[node] = inner
        self.pending.append(inner)
        if isinstance(node, ast.Lambda):
            self.found.returns[node] = [node.body]
        else:
            scope.bind(Binding(node.name, node, None, "def"))
        for arg in parameters(node):
            inner.bind(Binding(arg.arg, arg, None, "parameter"))
        return _HEAD

    def class_(self, node: ast.ClassDef, scope: Scope) -> tuple[str, ...]:
        scope.bind(Binding(node.name, node, None, "class"))
        self.found.classes.append(node)
        self.found.scopes[node] = inner = Scope(node, scope)
        self.pending.append(inner)
        return _HEAD

    def declared(self, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
        for name in node.names:
            home: Scope | None = self.module
            if isinstance(node, ast.Nonlocal):
                home = scope.parent
                while home is not None and (home.is_class or name not in home.bindings):
                    home = home.parent
            scope.foreign[name] = home or self.module


def parameters(node: FunctionNode) -> list[ast.arg]:
    """Every parameter of a function, in order, starred ones last."""
    given = node.args
    return [
        *given.posonlyargs,
        *given.args,
        *given.kwonlyargs,
        *(arg for arg in (given.vararg, given.kwarg) if arg is not None),
    ]


def last_word(node: ast.Call) -> str:
    """The last word of what is called, before the parenthesis: `step` in `self.optimizers[0].step()`."""
    return word_of(node.func)


def word_of(node: ast.AST | None) -> str:
    """A name, or the last word of a dotted one; empty for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
