"""Functions and objects of a program's own that standardise by fixed numbers: `(x - mean) / std`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from torchdx.source.index import last_word
from torchdx.source.reading import words

if TYPE_CHECKING:
    from torchdx.source.file import SourceFile

CALLED = words("__call__ forward")
CONTAINERS = words("tensor from_numpy as_tensor asarray array FloatTensor")
FORMS = words("numpy copy clone cpu detach float double astype")


def own_scalers(file: SourceFile) -> frozenset[str]:
    """The names of such functions, and those that only ever stand for objects of such classes."""
    nodes = file.tree.body
    functions = {one.name for one in nodes if isinstance(one, ast.FunctionDef) and _standardises(one, False)}
    classes = {one.name for one in nodes if isinstance(one, ast.ClassDef) and any(map(_is_called, one.body))}
    if not functions and not classes:
        return frozenset()
    made: dict[str, list[bool]] = {}
    for node in file.index.parents:
        for target in node.targets if isinstance(node, ast.Assign) else ():
            for name, value in _pairs(target, node.value) if isinstance(node, ast.Assign) else ():
                made.setdefault(name, []).append(isinstance(value, ast.Call) and last_word(value) in classes)
    return frozenset((functions - set(made)) | {name for name, of in made.items() if all(of)})


def unwrapped(node: ast.expr) -> ast.expr:
    """The same numbers before they were put into another container or type."""
    while isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in FORMS:
            node = node.func.value
        elif last_word(node) in CONTAINERS and node.args:
            node = node.args[0]
        else:
            break
    return node


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[str, ast.expr | None]]:
    if isinstance(target, ast.Tuple):
        alike = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
        values = value.elts if alike and isinstance(value, ast.Tuple) else [None] * len(target.elts)
        return [(one.id, of) for one, of in zip(target.elts, values, strict=True) if isinstance(one, ast.Name)]
    return [(target.id, value)] if isinstance(target, ast.Name) else []


def _is_called(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name in CALLED and _standardises(node, True)


def _standardises(function: ast.FunctionDef, method: bool) -> bool:
    """Does it return nothing but its only argument less a fixed number, over another?"""
    given = [one.arg for one in function.args.args]
    body = [one for one in function.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    returned = body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None
    if returned is None or len(given) != 1 + method:
        return False
    value = unwrapped(returned)
    if not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.Div):
        return False
    less, over = unwrapped(value.left), value.right
    if not isinstance(less, ast.BinOp) or not isinstance(less.op, ast.Sub):
        return False
    data = unwrapped(less.left)
    names = {one.id for part in (less.right, over) for one in ast.walk(part) if isinstance(one, ast.Name)}
    return isinstance(data, ast.Name) and data.id == given[-1] and given[-1] not in names
