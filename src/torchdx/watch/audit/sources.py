"""The text of the user's program, as it runs: lines, the names they read, and where objects are constructed."""

from __future__ import annotations

import ast
import functools
import linecache
import sys
from collections.abc import Iterator
from typing import Any

from torchdx.watch.places import Place, absolute, is_user_file

LONGEST = 120
"""Letters of a line or a call that are told."""

Spans = dict[int, ast.stmt]


@functools.cache
def tree_of(filename: str) -> ast.Module | None:
    """The file as parsed; None where it cannot be."""
    try:
        return ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError, RecursionError):
        return None


@functools.cache
def _statements(filename: str) -> Spans:
    """The innermost statement at each line, without those that only hold others."""
    found: Spans = {}
    tree = tree_of(filename)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[line] = node
    return found


def statement_at(filename: str, line: int) -> ast.stmt | None:
    """The simple statement at a line; None for a header such as that of a loop."""
    return _statements(filename).get(line)


def place_of(filename: str, node: ast.stmt | ast.expr) -> Place:
    """[path, line, column, end line, end column], columns from 1 in characters."""
    lines = linecache.getlines(filename)

    def column(line: int, offset: int) -> int:
        text = lines[line - 1] if line <= len(lines) else ""
        return len(text.encode()[:offset].decode("utf-8", "replace")) + 1

    end, end_offset = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return [absolute(filename), node.lineno, column(node.lineno, node.col_offset), end, column(end, end_offset)]


def shortened(text: str) -> str:
    """The text in one line, cut off where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def text_of(filename: str, node: ast.AST) -> str:
    """The source of a node, shortened."""
    try:
        return shortened(ast.get_source_segment("".join(linecache.getlines(filename)), node) or ast.unparse(node))
    except (IndexError, ValueError):
        return shortened(ast.unparse(node))


def names_read(node: ast.AST) -> set[str]:
    """The names that a statement reads."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)}


def name_bound(place: Place | None) -> str | None:
    """What the object that is made at this place is bound to, where a plain assignment does that."""
    if not place or not isinstance(place[0], str) or not isinstance(place[1], int):
        return None
    statement = statement_at(place[0], place[1])
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    if len(targets) != 1 or statement is None:
        return None
    target, value = targets[0], statement.value  # type: ignore[attr-defined]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        pairs = zip(target.elts, value.elts, strict=True)
        target = next((one for one, made in pairs if _holds(made, place)), target)
    if isinstance(target, ast.Name):
        return target.id
    return target.attr if isinstance(target, ast.Attribute) else None


def _holds(node: ast.expr, place: Place) -> bool:
    line, column = place[1], place[2]
    starts = (node.lineno, node.col_offset + 1) <= (line, column)
    return starts and (line, column) < (node.end_lineno, (node.end_col_offset or 0) + 1)


# --- where transforms are constructed


def constructions(container: Any, children: list[Any]) -> list[Place | None]:
    """Where each part of a container, such as a `Compose`, is constructed in the user's program."""
    kinds = [type(child).__name__ for child in children]
    for filename, call in _calls(type(container).__name__):
        listed = _elements(call)
        if [called(node) for node in listed] == kinds:
            return [place_of(filename, node) for node in listed]
    return [construction(child) for child in children]


def construction(thing: Any) -> Place | None:
    """Where the one thing of its kind is constructed; None where there are several such places."""
    places = [place_of(filename, call) for filename, call in _calls(type(thing).__name__)]
    return places[0] if len(places) == 1 else None


def _calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    for filename in user_files():
        yield from ((filename, call) for call in _calls_in(filename) if called(call) == name)


@functools.cache
def _calls_in(filename: str) -> list[ast.Call]:
    tree = tree_of(filename)
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []


def user_files() -> list[str]:
    """The files of the user's program that are loaded."""
    files = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
    return sorted(name for name in files if name and name.endswith(".py") and is_user_file(absolute(name)))


def _elements(call: ast.Call) -> list[ast.expr]:
    """What a call is given in a list, or one by one."""
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg in ("transforms", "aug"))]
    first = given[0] if given else None
    return first.elts if isinstance(first, ast.List | ast.Tuple) else given


def called(node: ast.AST) -> str:
    """The last name of what is called; empty for anything that is no call."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
