"""An expression with the file it stands in: what it says, where, and what it may be worth."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from torchdx.finding import Site
from torchdx.source.file import SourceFile
from torchdx.source.index import FUNCTIONS, last_word, word_of
from torchdx.source.values import UNKNOWN, Frame, Table, Value, literal, united

if TYPE_CHECKING:
    from torchdx.source.definitions import UserFunction
    from torchdx.source.program import Program


class Expression:
    """An expression of the user's; with a `frame`, as it stands in one particular call of its function."""

    def __init__(self, program: Program, file: SourceFile, node: ast.expr, frame: Frame | None = None) -> None:
        self.program, self.file, self.node, self.frame = program, file, node, frame

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r} at {self.site})"

    @property
    def site(self) -> Site:
        return self.file.site(self.node)

    @property
    def text(self) -> str:
        return self.file.text_of(self.node)

    @cached_property
    def value(self) -> Value:
        """What it may be worth, see `values`."""
        return self.program.evaluate(self.file, self.node, self.frame)

    @property
    def literal(self) -> object | None:
        """The number, string or truth value that it certainly is, or None."""
        return literal(self.value)

    @cached_property
    def function(self) -> UserFunction | None:
        """The function it stands in."""
        node = self.file.enclosing(self.node, *FUNCTIONS)
        return self.program.function(self.file, node) if node is not None else None

    @property
    def in_loop(self) -> bool:
        """Is it repeated by a loop of its own function?"""
        return next(self.file.loops_around(self.node), None) is not None

    @property
    def is_statement(self) -> bool:
        """Does it stand alone, its value thrown away?"""
        return isinstance(self.file.parent(self.node), ast.Expr)

    def guards(self) -> Iterator[Expression]:
        """The conditions it stands under, the nearest first."""
        for test in self.file.guards(self.node):
            yield Expression(self.program, self.file, test)

    def at(self, node: ast.expr) -> Expression:
        """Another expression of the same file and call."""
        return Expression(self.program, self.file, node, self.frame)


class Call(Expression):
    """A call, whose arguments can be asked for as the signature has them: by place or by name."""

    node: ast.Call

    @cached_property
    def name(self) -> str:
        """The canonical dotted name of what is called; empty where it is not known."""
        found = self.program.resolve(self.file, self.node.func)
        return found.name if found is not None else ""

    @property
    def method(self) -> str:
        """The last word before the parenthesis: `step` in `self.optimizers[0].step()`."""
        return last_word(self.node)

    @cached_property
    def receiver(self) -> Expression | None:
        """What stands before the last dot."""
        func = self.node.func
        return self.at(func.value) if isinstance(func, ast.Attribute) else None

    @cached_property
    def spread(self) -> Table | None:
        """What `**` hands over, as far as it is known; None where there is no `**`."""
        given = [self.at(keyword.value).value for keyword in self.node.keywords if keyword.arg is None]
        return united(given, apart=True) if given else None

    @property
    def is_certain(self) -> bool:
        """Are all arguments known, with no `*` among them, and `**` only of what is written out in this file?"""
        if any(isinstance(arg, ast.Starred) for arg in self.node.args):
            return False
        return self.spread is None or (not self.spread.open and all(map(self._spread_argument, self.spread.items)))

    def _spread_argument(self, keyword: object) -> Expression | None:
        found = self.spread.written.get(keyword) if self.spread is not None else None
        return found if found is not None and found.file is self.file else None

    def argument(self, position: int | None, keyword: str = "") -> Expression | None:
        """The argument at this place (from 0) or by this keyword, or None where it is not given."""
        for given in self.node.keywords:
            if given.arg is not None and given.arg == keyword:
                return self.at(given.value)
        args = self.node.args
        if position is not None and position < len(args):
            if any(isinstance(arg, ast.Starred) for arg in args[: position + 1]):
                return None
            return self.at(args[position])
        return self._spread_argument(keyword)

    def arguments(self) -> Iterator[Expression]:
        """All arguments, as written."""
        for arg in self.node.args:
            yield self.at(arg.value if isinstance(arg, ast.Starred) else arg)
        for keyword in self.node.keywords:
            yield self.at(keyword.value)

    def argument_value(self, position: int | None, keyword: str = "") -> Value:
        """The value of an argument; unknown where it is not given."""
        given = self.argument(position, keyword)
        return given.value if given is not None else UNKNOWN

    def gives(self, keyword: str) -> bool:
        """Is the keyword passed, or might it be through `**`?"""
        if any(given.arg == keyword for given in self.node.keywords):
            return True
        return self.spread is not None and (self.spread.open or keyword in self.spread.items)


def held_as(call: Call) -> Iterator[str]:
    """The names that an object is given in the statement that makes it."""
    statement = call.file.statement(call.node)
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    for target in targets:
        for node in ast.walk(target) if isinstance(target, ast.AST) else ():
            if isinstance(node, (ast.Name, ast.Attribute)):
                yield word_of(node)
