"""Where a number that a program uses is written down: in place, behind a name, in a config, as an option's default."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.expressions import Expression
from torchdx.source.file import SourceFile

if TYPE_CHECKING:
    from torchdx.source.program import Program


def number_written(expression: Expression, value: float) -> tuple[SourceFile, ast.Constant] | None:
    """The literal that gives an expression this value; None unless there is exactly one that can be meant."""
    node = expression.node
    if isinstance(node, ast.Constant):
        return (expression.file, node) if _is(node, value) else None
    word = _word(node)
    found = list(_literals_of(expression.program, word, value)) if word else []
    return found[0] if len(found) == 1 else None


def _word(node: ast.expr) -> str:
    """The last word of `lr`, `args.lr`, `config["lr"]`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.slice.value
    return ""


def _is(node: ast.AST | None, value: float) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
        and float(node.value) == value
    )


def _literals_of(program: Program, word: str, value: float) -> Iterator[tuple[SourceFile, ast.Constant]]:
    for file in program.files:
        for node in file.index.parents:
            for given in _given(node, word):
                if _is(given, value) and isinstance(given, ast.Constant):
                    yield file, given


def _given(node: ast.AST, word: str) -> Iterator[ast.expr | None]:
    """What this node gives to something of that name."""
    if isinstance(node, ast.Assign):
        yield from (node.value for target in node.targets if _word(target) == word)
    elif (isinstance(node, ast.AnnAssign) and _word(node.target) == word) or (
        isinstance(node, ast.keyword) and node.arg == word
    ):
        yield node.value
    elif isinstance(node, ast.Dict):
        yield from (v for k, v in zip(node.keys, node.values, strict=True) if getattr(k, "value", None) == word)
    elif isinstance(node, ast.arguments):
        plain = [*node.posonlyargs, *node.args]
        defaults = zip(plain[len(plain) - len(node.defaults) :], node.defaults, strict=True)
        yield from (default for name, default in defaults if name.arg == word)
        yield from (d for name, d in zip(node.kwonlyargs, node.kw_defaults, strict=True) if name.arg == word)
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
        options = [str(arg.value).lstrip("-").replace("-", "_") for arg in node.args if isinstance(arg, ast.Constant)]
        yield from (k.value for k in node.keywords if k.arg == "default" and word in options)
