"""What an expression may be worth: names, attributes and arithmetic followed back to what made them.

Evaluation is lazy and remembered. It goes through assignments, unpacking, loops over known lists, calls of the
project's own functions (each with its own arguments), and attributes assigned in any method. It gives up early.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from torchdx.source import arithmetic, attributes, calling, tables
from torchdx.source.contents import after_changes, element_of, part_of, slice_of
from torchdx.source.definitions import UserClass
from torchdx.source.expressions import Call, Expression
from torchdx.source.file import SourceFile
from torchdx.source.flow import reaching
from torchdx.source.index import FUNCTIONS, Binding
from torchdx.source.names import module_name
from torchdx.source.values import (
    NOTHING,
    UNKNOWN,
    Argument,
    Either,
    Frame,
    Group,
    Instance,
    Literal,
    Operation,
    Reference,
    Table,
    Value,
    either,
)

if TYPE_CHECKING:
    from torchdx.source.program import Program

DEEPEST = 40
LONGEST, SHORTEST = 2000, 60
"""Steps that one question may take: while they were few for the lines there are, and afterwards.

A step takes as long as parsing a line (8.5 and 9 us, over 528,000 lines of 36 public repositories).
"""
SMALL, SHARE = 10_000, 0.3
"""So many steps are free, and so many for each line. With these, nothing is found or missed that is not with thirteen
times as many steps, over the same repositories, and it takes a third less time."""
LISTING = (ast.List, ast.Call, ast.BinOp, ast.Subscript, ast.ListComp)
"""What may give a new list, which then goes by the name it is assigned to."""
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)


class Evaluator:
    """Evaluates the expressions of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.memo: dict[ast.AST, Value] = {}
        self.active: set[tuple[ast.AST, int]] = set()
        self.longest = LONGEST
        self.completed: dict[tuple[ast.AST, ast.AST], ast.Call] = {}
        self.depth = self.work = self.cycles = self.spent = 0

    def evaluate(self, file: SourceFile, node: ast.expr, frame: Frame | None = None) -> Value:
        """The value of an expression, in one call of its function if a frame is given."""
        memo = self.memo if frame is None else frame.memo
        known = memo.get(node)
        if known is not None:
            return known
        key = (node, id(frame))
        if key in self.active:
            self.cycles += 1
            return NOTHING
        if self.depth == 0:
            self.spent += self.work
            self.longest = LONGEST if self.spent < self.affordable else SHORTEST
            self.work = 0
        if not self.goes_on() or self.depth > DEEPEST:
            self.cycles += 1
            return UNKNOWN
        before, ways = self.cycles, WAYS
        self.active.add(key)
        self.depth += 1
        try:
            value = ways[node.__class__](self, file, node, frame) if node.__class__ in ways else UNKNOWN
            if node.__class__ in LISTING and not isinstance(file.parent(node), ast.AugAssign):
                value = after_changes(self.program, file, node, frame, value)
        except RecursionError:
            if self.depth > 1:
                raise
            value = UNKNOWN
        finally:
            self.depth -= 1
            self.active.discard(key)
        if self.depth == 0 or self.cycles == before:
            memo[node] = value
        return value

    def goes_on(self) -> bool:
        """Take one more step, if the question may take so many."""
        self.work += 1
        self.cycles += self.work > self.longest
        return self.work <= self.longest

    @cached_property
    def affordable(self) -> float:
        """How many steps reading may take in all before it gets short of breath."""
        return max(SMALL, SHARE * sum(file.bytes.count(b"\n") for file in self.program.torch_files))

    def _call(self, file: SourceFile, node: ast.Call, frame: Frame | None) -> Value:
        return calling.value_of_call(Call(self.program, file, node, frame))

    def _literal(self, file: SourceFile, node: ast.Constant, frame: Frame | None) -> Value:
        return Literal(node.value)

    def _inner(self, file: SourceFile, node: ast.NamedExpr | ast.Await | ast.Starred, frame: Frame | None) -> Value:
        return self.evaluate(file, node.value, frame)

    def _conditional(self, file: SourceFile, node: ast.IfExp, frame: Frame | None) -> Value:
        return either(self.evaluate(file, part, frame) for part in (node.body, node.orelse))

    def _any_of(self, file: SourceFile, node: ast.BoolOp, frame: Frame | None) -> Value:
        return either(self.evaluate(file, part, frame) for part in node.values)

    def _binary(self, file: SourceFile, node: ast.BinOp, frame: Frame | None) -> Value:
        return arithmetic.operation(node.op, self._expressions(file, (node.left, node.right), frame))

    def _unary(self, file: SourceFile, node: ast.UnaryOp, frame: Frame | None) -> Value:
        return arithmetic.unary(node.op, *self._expressions(file, (node.operand,), frame))

    def _compare(self, file: SourceFile, node: ast.Compare, frame: Frame | None) -> Value:
        if len(node.ops) != 1 or not isinstance(node.ops[0], (ast.Gt, ast.Lt, ast.GtE, ast.LtE, ast.Eq, ast.NotEq)):
            return UNKNOWN
        sides = self._expressions(file, (node.left, node.comparators[0]), frame)
        return Operation(type(node.ops[0]).__name__, sides)

    def _lambda(self, file: SourceFile, node: ast.Lambda, frame: Frame | None) -> Value:
        return Reference("lambda", self.program.function(file, node))

    def _repeated(
        self, file: SourceFile, node: ast.ListComp | ast.GeneratorExp | ast.SetComp, frame: Frame | None
    ) -> Value:
        found, around = self.evaluate(file, node.elt, frame), file.parent(node)
        target = around.targets[0] if isinstance(around, ast.Assign) else None
        if isinstance(target, ast.Tuple) and not any(isinstance(part, ast.Starred) for part in target.elts):
            return Group((found,) * len(target.elts))  # what is unpacked has just so many items
        return Group((found,), open=True)

    # Names

    def _name(self, file: SourceFile, node: ast.Name, frame: Frame | None) -> Value:
        in_comprehension = self._comprehension(file, node, frame)
        if in_comprehension is not None:
            return in_comprehension
        scope = file.scope_of(node)
        home, bindings = self.program.names.visible(scope, node.id)
        if home is None:
            found = self.program.names.binding(file, node)
            return self.bound(file, found, None) if isinstance(found, Binding) else self._builtin(file, node)
        if home is scope:
            bindings = reaching(file, bindings, node, scope.node)
        inner = frame if frame is not None and frame.function.node is home.node else None
        return either(self.bound(file, binding, inner) for binding in bindings)

    def _builtin(self, file: SourceFile, node: ast.Name) -> Value:
        return self.program.resolve(file, node) or UNKNOWN

    def _comprehension(self, file: SourceFile, node: ast.Name, frame: Frame | None) -> Value | None:
        if node.id not in file.index.comprehended:
            return None
        child: ast.AST = node
        for above in file.ancestors(node):
            if isinstance(above, ast.stmt):
                return None
            if isinstance(above, COMPREHENSIONS):
                for generator in above.generators:
                    steps = _steps_to(generator.target, node.id)
                    if steps is not None and child is not generator:
                        return self._unpacked(element_of(self.evaluate(file, generator.iter, frame)), steps)
            child = above
        return None

    def bound(self, file: SourceFile, binding: Binding, frame: Frame | None) -> Value:
        """What one binding gives its name."""
        if binding.how == "parameter":
            return self._parameter(file, binding, frame)
        if binding.how in ("import", "def", "class"):
            return self.program.names._bound(file, binding, 0) or self._imported(file, binding)
        if binding.value is None or binding.how == "other":
            return UNKNOWN
        if binding.how == "augment":
            return self._augmented(file, binding, frame)
        value = self.evaluate(file, binding.value, frame)
        if binding.how == "element":
            value = element_of(value)
        elif binding.how == "enter" and not isinstance(value, Instance):
            return UNKNOWN
        return self._unpacked(value, binding.steps)

    def _imported(self, file: SourceFile, binding: Binding) -> Value:
        """What a variable of another file of the project's is worth, as that file sets it."""
        home, bindings = self.program.names.variable(file, binding.origin)
        return either(self.bound(home, one, None) for one in bindings) if bindings else UNKNOWN

    def _augmented(self, file: SourceFile, binding: Binding, frame: Frame | None) -> Value:
        statement = binding.node if isinstance(binding.node, ast.AugAssign) else file.statement(binding.node)
        if not isinstance(statement, ast.AugAssign) or not isinstance(statement.target, ast.Name):
            return UNKNOWN
        prior = self.evaluate(file, statement.target, frame)
        sides = self._expressions(file, (statement.value,), frame)
        joined = arithmetic.operation(statement.op, sides, prior)
        return after_changes(self.program, file, statement.value, frame, joined)

    def _unpacked(self, value: Value, steps: tuple[int, ...]) -> Value:
        for step in steps:
            value = part_of(value, step)
        return value

    def _parameter(self, file: SourceFile, binding: Binding, frame: Frame | None) -> Value:
        node = file.enclosing(binding.node, *FUNCTIONS)
        assert node is not None
        function = self.program.function(file, node)
        if binding.name == function.self_name and function.owner is not None:
            return frame.this if frame is not None and frame.this is not None else self.this(function.owner)
        if frame is not None and frame.given is not None and function.place_of(binding.name) == 0:
            return frame.given
        if frame is not None and frame.call is not None:
            return calling.passed(function, binding.name, frame.call)
        if frame is not None and frame.given is not None:
            default = function.default_of(binding.name)
            return default.value if default is not None else UNKNOWN
        callers = self.program.callers(function)
        if not callers:
            return Argument(binding.name, function)
        return either(calling.passed(function, binding.name, call) for call in callers)

    def this(self, cls: UserClass) -> Instance:
        """An object of a class, when it is not known which."""
        known = self.program.anybody.get(cls)
        if known is None:
            known = Instance(f"{module_name(cls.file)}.{cls.name}", None, cls)
            self.program.anybody[cls] = known
        return known

    def _attribute(self, file: SourceFile, node: ast.Attribute, frame: Frame | None) -> Value:
        base = self.evaluate(file, node.value, frame)
        return either(attributes.attribute_of(self, choice, node.attr, node, file) for choice in base.alternatives())

    # The rest

    def _expressions(
        self, file: SourceFile, nodes: tuple[ast.expr, ...], frame: Frame | None
    ) -> tuple[Expression, ...]:
        return tuple(Expression(self.program, file, node, frame) for node in nodes)

    def _group(self, file: SourceFile, node: ast.Tuple | ast.List | ast.Set, frame: Frame | None) -> Value:
        items: list[Value] = []
        is_open = False
        for element in node.elts:
            value = self.evaluate(file, element, frame)
            if isinstance(element, ast.Starred):
                longest = max(
                    (v for v in value.alternatives() if isinstance(v, Group)), key=lambda v: len(v.items), default=None
                )
                items += longest.items if longest is not None else (UNKNOWN,)
                is_open |= longest is None or longest.open or isinstance(value, Either)
            else:
                items.append(value)
        return Group(tuple(items), is_open)

    def _table(self, file: SourceFile, node: ast.Dict, frame: Frame | None) -> Value:
        return tables.table_of(self.program, file, node, frame)

    def _subscript(self, file: SourceFile, node: ast.Subscript, frame: Frame | None) -> Value:
        value = self.evaluate(file, node.value, frame)
        index = node.slice
        if isinstance(index, ast.Slice):
            return either(slice_of(choice, index) for choice in value.alternatives())
        if isinstance(index, ast.UnaryOp) and isinstance(index.operand, ast.Constant):
            place = arithmetic.unary(index.op, *self._expressions(file, (index.operand,), frame))
            return part_of(value, place.value if isinstance(place, Literal) else ...)
        if isinstance(index, ast.Constant):
            return part_of(value, index.value)
        if any(isinstance(choice, Table) for choice in value.alternatives()):
            keys = [
                choice.value if isinstance(choice, Literal) else ... for choice in self._choices(file, index, frame)
            ]
            return either(part_of(value, key) for key in keys)
        return part_of(value, ...)

    def _choices(self, file: SourceFile, node: ast.expr, frame: Frame | None) -> tuple[Value, ...]:
        return self.evaluate(file, node, frame).alternatives()


WAYS: dict[type[ast.AST], Callable[..., Value]] = {
    ast.Constant: Evaluator._literal,
    ast.Name: Evaluator._name,
    ast.Attribute: Evaluator._attribute,
    ast.Call: Evaluator._call,
    ast.Tuple: Evaluator._group,
    ast.List: Evaluator._group,
    ast.Set: Evaluator._group,
    ast.Dict: Evaluator._table,
    ast.BinOp: Evaluator._binary,
    ast.UnaryOp: Evaluator._unary,
    ast.Compare: Evaluator._compare,
    ast.IfExp: Evaluator._conditional,
    ast.BoolOp: Evaluator._any_of,
    ast.NamedExpr: Evaluator._inner,
    ast.Await: Evaluator._inner,
    ast.Starred: Evaluator._inner,
    ast.Subscript: Evaluator._subscript,
    ast.Lambda: Evaluator._lambda,
    ast.ListComp: Evaluator._repeated,
    ast.GeneratorExp: Evaluator._repeated,
    ast.SetComp: Evaluator._repeated,
}


def _steps_to(target: ast.expr, name: str) -> tuple[int, ...] | None:
    if isinstance(target, ast.Name):
        return () if target.id == name else None
    if isinstance(target, (ast.Tuple, ast.List)):
        for place, part in enumerate(target.elts):
            inner = _steps_to(part, name)
            if inner is not None:
                return (place, *inner)
    return None
