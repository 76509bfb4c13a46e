"""One file of Python: its bytes, its text, its tree, and where a node stands in each of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from torchdx.finding import Site, near
from torchdx.source.index import FUNCTIONS, LOOPS, Index, LoopNode, Scope, index
from torchdx.source.magics import parsed
from torchdx.source.reading import Problem, decoding_problem, encoding_of

TESTS = re.compile(r"(^|[\\/])(tests?[\\/]|test_[^\\/]*$|conftest|[^\\/]*unit_?tests?[^\\/]*$)")
LINE_END = re.compile(rb"\r\n|\r|\n")
TRAINING = re.compile(rb"\.(?:backward|zero_grad|state_dict|parameters|eval|cuda)\(")
SCOPES = (ast.Module, ast.ClassDef, *FUNCTIONS)


class SourceFile:
    """A file as read; everything about it is found out when first asked."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.bytes = self.on_disk = data
        self.problem: Problem | None = None
        self.paths: dict[tuple[ast.AST, ast.AST], tuple[tuple[ast.AST, str, int], ...]] = {}
        self._scopes: dict[ast.AST, Scope] = {}
        self.gaps: tuple[Problem, ...] = ()
        """Parts that could not be read, in a file that otherwise could."""

    def __repr__(self) -> str:
        return f"SourceFile({self.path!r})"

    @cached_property
    def mentions_torch(self) -> bool:
        """Could anything in it have to do with PyTorch?"""
        return b"torch" in self.bytes

    @property
    def is_test(self) -> bool:
        """Is it a test, which runs where, and with what, its author wants it to run?"""
        return TESTS.search(near(self.path)) is not None

    @cached_property
    def could_train(self) -> bool:
        """Does it do what one does to models, if only to those that other files make?"""
        return TRAINING.search(self.bytes) is not None

    @cached_property
    def encoding(self) -> str:
        return encoding_of(self.bytes)

    @cached_property
    def text(self) -> str:
        return self.bytes.decode(self.encoding, "replace")

    @cached_property
    def tree(self) -> ast.Module:
        """The file's tree; an empty one, with `problem` set, where the file does not parse."""
        self.problem = decoding_problem(self.path, self.bytes)
        try:
            return parsed(self.text)
        except SyntaxError as error:
            self.problem = Problem(self.path, error.lineno or 1, f"does not parse: {error.msg}")
        except (ValueError, RecursionError, MemoryError) as error:
            self.problem = Problem(self.path, 0, f"does not parse: {error or type(error).__name__}")
        return ast.Module(body=[], type_ignores=[])

    @cached_property
    def index(self) -> Index:
        try:
            return index(self.tree)
        except RecursionError:
            self.problem = Problem(self.path, 0, "is nested too deeply to be read")
            return index(ast.Module(body=[], type_ignores=[]))

    @cached_property
    def imports_torch(self) -> bool:
        """Does it import torch, or something out of it, anywhere?"""
        return self.mentions_torch and any(
            binding.origin.partition(".")[0] in ("torch", "torchvision", "pytorch_lightning", "lightning")
            for scope in self.index.scopes.values()
            for bindings in scope.bindings.values()
            for binding in bindings
            if binding.how in ("import", "star")
        )

    @cached_property
    def module_scope(self) -> Scope:
        return self.index.scopes[next(iter(self.index.scopes))]

    # Where things stand

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(found.end() for found in LINE_END.finditer(self.bytes))]

    def line_bytes(self, line: int) -> bytes:
        """One line as it is on disk, its end included."""
        starts = self._line_starts
        end = starts[line] if line < len(starts) else len(self.bytes)
        return self.bytes[starts[line - 1] : end]

    def span_of_line(self, line: int) -> tuple[int, int]:
        """A line's first byte on disk and the one after its last, its end included."""
        start = self._line_starts[line - 1]
        return start, start + len(self.line_bytes(line))

    def _place(self, line: int, column: int) -> tuple[int, int]:
        """The byte offset on disk and the column in characters of a place that `ast` names by utf-8 bytes."""
        start = self._line_starts[line - 1]
        raw = self.line_bytes(line)
        mark = 3 if line == 1 and self.encoding == "utf-8-sig" else 0
        if self.encoding in ("utf-8", "utf-8-sig", "ascii"):
            raw = raw[mark:]
            return start + mark + column, len(raw[:column].decode("utf-8", "replace")) + 1
        before = raw.decode(self.encoding, "replace").encode("utf-8")[:column].decode("utf-8", "replace")
        return start + len(before.encode(self.encoding, "replace")), len(before) + 1

    def site(self, node: ast.AST) -> Site:
        """Where the node stands, in lines and characters counted from 1."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        end_line, end_column = getattr(node, "end_lineno", None), getattr(node, "end_col_offset", None)
        last = None if end_line is None or end_column is None else self._place(end_line, end_column)[1]
        return Site(self.path, line, self._place(line, column)[1], end_line, last)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """The node's first byte on disk and the one after its last."""
        start = self._place(getattr(node, "lineno", 1), getattr(node, "col_offset", 0))[0]
        end = self._place(getattr(node, "end_lineno", 1) or 1, getattr(node, "end_col_offset", 0) or 0)[0]
        return start, end

    def text_of(self, node: ast.AST) -> str:
        """The node as the user wrote it."""
        start, end = self.span(node)
        return self.bytes[start:end].decode(self.encoding.replace("-sig", ""), "replace")

    def node_at(self, site: Site, *kinds: type[ast.AST]) -> ast.AST | None:
        """The outermost node of these kinds that starts at the site (or, failing that, on its line)."""
        on_line = [
            node for node in self.index.parents if isinstance(node, kinds) and getattr(node, "lineno", 0) == site.line
        ]
        exact = [node for node in on_line if self.site(node) == site] or [
            node for node in on_line if self.site(node).column == site.column
        ]
        return next(iter(exact or on_line), None)

    # Who stands around whom

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self.index.parents.get(node)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Everything around the node, the nearest first."""
        parents = self.index.parents
        above = parents.get(node)
        while above is not None:
            yield above
            above = parents.get(above)

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The statement that the node is, or is a part of."""
        while not isinstance(node, ast.stmt):
            above = self.index.parents.get(node)
            if above is None:
                return None
            node = above
        return node

    def scope_of(self, node: ast.AST) -> Scope:
        """The scope whose names the node sees first."""
        known = self._scopes.get(node)
        if known is None:
            known = self._scopes[node] = self._scope_of(node)
        return known

    def _scope_of(self, node: ast.AST) -> Scope:
        scopes, child = self.index.scopes, node
        for above in self.ancestors(node):
            if isinstance(above, SCOPES) and above in scopes and not _is_outside_of(child, above):
                return scopes[above]
            child = above
        return self.module_scope

    def enclosing(self, node: ast.AST, *kinds: type[ast.AST]) -> ast.AST | None:
        """The nearest node of these kinds around the node."""
        return next((above for above in self.ancestors(node) if isinstance(above, kinds)), None)

    def loops_around(self, node: ast.AST) -> Iterator[LoopNode]:
        """The loops that repeat the node, the innermost first, no further than its function."""
        child = node
        for above in self.ancestors(node):
            if isinstance(above, LOOPS) and not (child is getattr(above, "iter", None) or child in above.orelse):
                yield above
            if isinstance(above, FUNCTIONS):
                return
            child = above

    def guards(self, node: ast.AST) -> Iterator[ast.expr]:
        """The conditions around the node, the nearest first: of `if`, `while`, conditional expressions, `and`."""
        child = node
        for above in self.ancestors(node):
            if isinstance(above, (ast.If, ast.While, ast.IfExp)) and child is not above.test:
                yield above.test
            elif isinstance(above, ast.BoolOp) and child is not above.values[0]:
                yield above.values[0]
            child = above


def _is_outside_of(child: ast.AST, scope: ast.AST) -> bool:
    """Defaults, decorators and bases stand in a definition but see the names around it."""
    if isinstance(scope, ast.Lambda):
        return child is scope.args
    if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return child is scope.args or child in scope.decorator_list or child is scope.returns
    if isinstance(scope, ast.ClassDef):
        return child in scope.bases or child in scope.keywords or child in scope.decorator_list
    return False


def imported_files(file: SourceFile, homes: list[Path]) -> Iterator[Path]:
    """The files on disk that a file's imports mean, if they belong to the same project."""
    for scope in file.index.scopes.values():
        for bindings in scope.bindings.values():
            for binding in bindings:
                if binding.how in ("import", "star"):
                    yield from _existing(binding.origin, Path(file.path).parent, homes)


def _existing(dotted: str, here: Path, homes: list[Path]) -> Iterator[Path]:
    level = len(dotted) - len(dotted.lstrip("."))
    words = [word for word in dotted.lstrip(".").split(".") if word]
    bases = [here, *here.parents][level - 1 : level] if level else homes
    for base in bases:
        for count in range(len(words) + 1):
            place = base.joinpath(*words[:count])
            for path in (place / "__init__.py", place.with_suffix(".py") if count else place / "__init__.py"):
                if (count or level) and path.is_file():
                    yield path
