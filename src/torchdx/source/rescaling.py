"""Where data are handed to a scaler that gave them: `scaler.transform` of what `scaler.transform` returned.

A scaler is one of scikit-learn's, or a function or an object of the program's own that takes a number away and divides
by another, neither of which it computes from what it is given.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING

from torchdx.source.flow import path_of
from torchdx.source.index import last_word
from torchdx.source.reading import words
from torchdx.source.standardising import own_scalers, unwrapped

if TYPE_CHECKING:
    from torchdx.source.file import SourceFile

GIVES = words("transform fit_transform")
SCALERS = ("StandardScaler", "MinMaxScaler", "RobustScaler", "MaxAbsScaler", "QuantileTransformer", "PowerTransformer")

Places = tuple[str, str, ast.AST]
"""What is scaled and what scales it, as they are called at some place, and that place."""


def rescaled(file: SourceFile) -> Iterator[tuple[ast.expr, ast.AST]]:
    """Every call or expression that scales once more, and the statement that did it before."""
    own = own_scalers(file)
    known = any(name.encode() in file.bytes for name in SCALERS)
    for call in (call for name in ("transform", *sorted(own)) for call in file.index.calls.get(name, [])):
        told = _scaling(call, own)
        for data, scaler, place in _seen_from(file, *told, call) if told else ():
            before = _before(file, data, scaler, place, own)
            if before is not None and (scaler in own or (known and _is_scaler(file, scaler))):
                yield call, before
                break
    for node in (node for node in file.index.parents if isinstance(node, ast.BinOp)):
        written = _written(node)
        data = _path(_rows(unwrapped(node.left.left))) if written and isinstance(node.left, ast.BinOp) else ""
        before = _before(file, data, written, node, own) if data else None
        if before is not None:
            yield node, before


def _written(node: ast.AST) -> str:
    """The two names of a scaling that is written out, `(x - mean) / std`; empty for anything else."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
        return ""
    less, over = unwrapped(node.left), node.right
    if isinstance(over, ast.BinOp) and isinstance(over.op, ast.Add) and isinstance(over.right, ast.Constant):
        over = over.left
    if not isinstance(less, ast.BinOp) or not isinstance(less.op, ast.Sub) or less is not node.left:
        return ""
    mean, deviation = _path(less.right), _path(over)
    return f"{mean}/{deviation}" if mean and deviation else ""


def _rows(node: ast.expr) -> ast.expr:
    """What some rows are taken of: of `x[rows]`, but not of `x[:, 0]`."""
    rows = isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name | ast.Slice)
    return unwrapped(node.value) if rows and isinstance(node, ast.Subscript) else node


def _scaling(node: ast.AST, own: Set[str]) -> tuple[str, str] | None:
    """The data and the scaler of a call, as they are written, if it is of a scaler on something that has a name."""
    scaler = _scaler(node, own)
    data = _path(unwrapped(node.args[0])) if scaler and isinstance(node, ast.Call) else ""
    return (data, scaler) if data else None


def _scaler(node: ast.AST, own: Set[str]) -> str:
    """What a call scales its only argument with, as it is written; empty if it does not scale."""
    if isinstance(node, ast.BinOp):
        return _written(node)
    if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords:
        return ""
    if isinstance(node.func, ast.Name) and node.func.id in own:
        return node.func.id
    gives = isinstance(node.func, ast.Attribute) and node.func.attr in GIVES
    return _path(node.func.value) if gives and isinstance(node.func, ast.Attribute) else ""


def _path(node: ast.AST) -> str:
    """A name, or attributes of one; empty for all else."""
    inner = node
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return ast.unparse(node) if isinstance(inner, ast.Name) else ""


def _is_scaler(file: SourceFile, scaler: str) -> bool:
    """Is what is called so one of the scalers whose output is not to be scaled again?"""
    made = [node for node in file.index.parents if isinstance(node, ast.Assign)]
    values = [value for node in made for target, value in _assigned(node) if target == scaler]
    return bool(values) and all(
        value is not None and any(isinstance(one, ast.Call) and last_word(one) in SCALERS for one in ast.walk(value))
        for value in values
    )


def _seen_from(file: SourceFile, data: str, scaler: str, call: ast.AST) -> Iterator[Places]:
    """The call itself, and where the function around it is called with what it scales."""
    yield data, scaler, call
    function = file.scope_of(call).node
    if not isinstance(function, ast.FunctionDef):
        return
    owner = file.scope_of(function).node
    method = isinstance(owner, ast.ClassDef)
    if method and function.name != "__init__":
        return
    given = [one.arg for one in function.args.args][int(method) :]
    for outer in file.index.calls.get(owner.name if isinstance(owner, ast.ClassDef) else function.name, []):
        names = {key: _path(value) for key, value in zip(given, outer.args, strict=False)}
        names |= {one.arg: _path(one.value) for one in outer.keywords if one.arg}
        told = [
            ".".join([names.get(root, "") if root in given else root, *rest])
            for root, *rest in (data.split("."), scaler.split("."))
        ]
        if data.split(".")[0] in given and all(told) and not any(one.startswith(".") for one in told):
            yield told[0], told[1], outer


def _before(file: SourceFile, data: str, scaler: str, place: ast.AST, own: Set[str]) -> ast.AST | None:
    """The last statement before a place, always run, that gave the data their value, if the scaler gave it."""
    scope = file.scope_of(place).node
    here = path_of(file, place, scope)
    for owner, block, at in reversed(here):
        if block == "body" and isinstance(owner, ast.For) and _rebinds(owner.target, data):
            return None
        for one in reversed(getattr(owner, block)[:at]):
            values = [value for target, value in _assigned(one) if target == data]
            if values and values[-1] is not None:
                return one if _scaler(unwrapped(values[-1]), own) == scaler else None
            if values or any(_stores(inner, data, *scaler.split("/")) for inner in ast.walk(one)):
                return None
    return None


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    for target in node.targets if isinstance(node, ast.Assign) else ():
        assert isinstance(node, ast.Assign)
        if not isinstance(target, ast.Tuple):
            yield _path(target), node.value
        elif isinstance(node.value, ast.Tuple) and len(node.value.elts) == len(target.elts):
            yield from zip(map(_path, target.elts), node.value.elts, strict=True)
        else:
            yield from ((_path(one), None) for one in target.elts)


def _rebinds(target: ast.AST, data: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == data.split(".")[0] for one in ast.walk(target))


def _stores(node: ast.AST, data: str, *scaler: str) -> bool:
    """Might it give the data, the thing they belong to, or the scaler another value?"""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr == "inverse_transform" or (
            node.func.attr in ("fit", "fit_transform") and _path(node.func.value) in scaler
        )
    if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Store):
        return False
    path = _path(node)
    return any(path == name or name.startswith(path + ".") for name in (data, *scaler))
