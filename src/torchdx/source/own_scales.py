"""Parts of one whole that are each scaled by their own numbers: `(new - new.mean(0)) / new.std(0)`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from torchdx.source.reading import words
from torchdx.source.rescaling import SCALERS
from torchdx.source.unused import assignments, groups

if TYPE_CHECKING:
    from torchdx.source.file import SourceFile
    from torchdx.source.program import Program

MIDDLES, WIDTHS = words("mean min amin median"), words("std max amax sub ptp")


class Scaled(NamedTuple):
    """Where a part is scaled by its own numbers, its name, and that of another part of the same whole."""

    file: SourceFile
    node: ast.expr
    name: str
    other: str


def scaled_apart(program: Program) -> Iterator[Scaled]:
    """Every part that is scaled by its own numbers, where another part of the whole is scaled by other ones."""
    for file in program.torch_files:
        for scope, unordered in assignments(file, tuple(file.index.parents)).items():
            assigned = sorted(unordered, key=lambda node: node.lineno)
            handed = _handed(file, scope)
            yield from _of_one_whole(file, handed)
            yield from _by_other_statistics(file, scope, assigned)
            yield from _with_its_own(file, scope, assigned)
            own, fitted = _own(file, scope), _fitted(file, scope)
            own |= {call.args[0].id: call for call in handed if isinstance(call.args[0], ast.Name)}
            if not own and len(fitted) < 2:
                continue
            for group in groups(program, file, assigned):
                for name in group[1:]:
                    before = group[: group.index(name)]
                    others = [one for one in before if one in fitted or one in own or _is_scaled(file, scope, one)]
                    if others and name in own:
                        yield Scaled(file, own[name], name, others[0])
                    elif name in fitted and any(one in fitted and fitted[one][0] == fitted[name][0] for one in others):
                        yield Scaled(file, fitted[name][1], name, others[0])


def _by_other_statistics(file: SourceFile, scope: ast.AST, assigned: list[ast.Assign]) -> Iterator[Scaled]:
    """Stretches of one whole that are scaled by different statistics, both of the same one of them."""
    known = {name: text for node in assigned for name, text in _texts(node)}
    scaled: dict[str, list[tuple[str, str, set[str], ast.BinOp]]] = {}
    for node in _divisions(file):
        less = node.left if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) else None
        if not isinstance(less, ast.BinOp) or not isinstance(less.op, ast.Sub) or file.scope_of(node).node is not scope:
            continue
        if isinstance(node, ast.BinOp) and isinstance(less.left, ast.Subscript) and _is_stretch(less.left):
            texts = [known.get(ast.unparse(one), ast.unparse(one)) for one in (less.right, node.right)]
            of = {ast.unparse(one) for text in texts for one in _asked(text)}
            row = (ast.unparse(less.left), " / ".join(texts), of, node)
            scaled.setdefault(ast.unparse(less.left.value), []).append(row)
    for rows in scaled.values():
        for (one, by, of, _), (other, now_by, now_of, node) in pairwise(rows):
            if one != other and by != now_by and of == now_of == {one}:
                yield Scaled(file, node, other, one)


def _texts(node: ast.Assign) -> Iterator[tuple[str, str]]:
    """What each name is bound to, of `a, b = c, d` too."""
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        yield from ((ast.unparse(one), ast.unparse(part)) for one, part in zip(target.elts, value.elts, strict=True))
    elif isinstance(target, ast.Name):
        yield target.id, ast.unparse(value)


def _is_stretch(part: ast.Subscript) -> bool:
    """Is a stretch of it taken, along one axis?"""
    return any(isinstance(one, ast.Slice) and (one.lower or one.upper) for one in ast.walk(part.slice))


def _asked(text: str) -> Iterator[ast.expr]:
    """What means and deviations are asked of in an expression."""
    for call in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in MIDDLES | WIDTHS:
            yield call.func.value


def _with_its_own(file: SourceFile, scope: ast.AST, assigned: list[ast.Assign]) -> Iterator[Scaled]:
    """Calls of one function on stretches of rows of one whole, each with the mean and deviation of that stretch."""
    known = {name: text for node in assigned for name, text in _texts(node)}
    own: dict[tuple[str, str], list[tuple[str, ast.Call]]] = {}
    for call in file.index.calls_in.get(scope, ()):
        first = call.args[0] if len(call.args) > 1 and isinstance(call.func, ast.Name) else None
        if isinstance(first, ast.Subscript) and isinstance(first.slice, ast.Slice):
            asked = [
                {ast.unparse(one) for one in _asked(known.get(ast.unparse(arg), ast.unparse(arg)))}
                for arg in call.args[1:]
            ]
            if sum(of == {ast.unparse(first)} for of in asked) > 1:
                key = (ast.unparse(call.func), ast.unparse(first.value))
                own.setdefault(key, []).append((ast.unparse(first), call))
    for calls in own.values():
        for (one, _), (other, call) in pairwise(calls):
            if one != other:
                yield Scaled(file, call, other, one)


def _handed(file: SourceFile, scope: ast.AST) -> list[ast.Call]:
    """Calls, in a scope, of functions and classes that scale their first argument by its own numbers."""
    names = []
    for function in (one for one in file.index.functions if isinstance(one, ast.FunctionDef) and one.args.args):
        owner = file.scope_of(function).node
        method = isinstance(owner, ast.ClassDef)
        given = function.args.args[int(method) :][:1]
        if given and (not method or function.name == "__init__") and given[0].arg in _own(file, function):
            names.append(owner.name if isinstance(owner, ast.ClassDef) else function.name)
    calls = (call for name in names for call in file.index.calls.get(name, []) if call.args)
    return sorted((call for call in calls if file.scope_of(call).node is scope), key=lambda call: call.lineno)


def _of_one_whole(file: SourceFile, calls: list[ast.Call]) -> Iterator[Scaled]:
    """Those of two stretches of one whole that were handed over as such."""
    for one, other in pairwise(calls):
        parts = [call.args[0] for call in (one, other)]
        cut = [part for part in parts if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Slice)]
        same = len({ast.unparse(part.value) for part in cut}) == 1 and ast.dump(parts[0]) != ast.dump(parts[1])
        if len(cut) == 2 and same and ast.dump(one.func) == ast.dump(other.func):
            yield Scaled(file, other, ast.unparse(parts[1]), ast.unparse(parts[0]))


@lru_cache(maxsize=2)
def _divisions(file: SourceFile) -> tuple[ast.BinOp, ...]:
    """Everything in a file that is divided by something."""
    nodes = (one for one in file.index.parents if isinstance(one, ast.BinOp))
    return tuple(one for one in nodes if isinstance(one.op, ast.Div))


def _own(file: SourceFile, scope: ast.AST) -> dict[str, ast.expr]:
    """Each name that stands, in a scope, in a scaling by its own mean and deviation over samples, and where."""
    found: dict[str, ast.expr] = {}
    for node in _divisions(file):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div) or not isinstance(node.left, ast.BinOp):
            continue
        less = node.left
        if isinstance(less.op, ast.Sub) and isinstance(less.left, ast.Name) and file.scope_of(node).node is scope:
            middle = {name for name, what in _statistics(less.right) if what in MIDDLES}
            width = {name for name, what in _statistics(node.right) if what in WIDTHS}
            if middle == {less.left.id} and width:
                found[less.left.id] = node
    return found


def _statistics(node: ast.expr) -> Iterator[tuple[str, str]]:
    """The statistics over samples that are asked for in an expression, and of what."""
    for call in ast.walk(node):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        told = [*call.args, *(one.value for one in call.keywords if one.arg in ("dim", "axis"))]
        first = told[0].elts[:1] if told and isinstance(told[0], ast.Tuple) else told[:1]
        over = all(isinstance(one, ast.Constant) and one.value == 0 for one in first)
        if over and isinstance(call.func.value, ast.Name):
            yield call.func.value.id, call.func.attr


def _is_scaled(file: SourceFile, scope: ast.AST, name: str) -> bool:
    """Is it, or what is taken of it, divided somewhere after something was taken away?"""
    return any(
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Div)
        and isinstance(node.left, ast.BinOp)
        and isinstance(node.left.op, ast.Sub)
        and isinstance(node.left.left, ast.Name)
        and node.left.left.id == name
        and file.scope_of(node).node is scope
        for node in file.index.parents
    )


def _fitted(file: SourceFile, scope: ast.AST) -> dict[str, tuple[str, ast.expr]]:
    """What scalers of scikit-learn's are fitted to in a scope, by which, and where."""
    if not any(name.encode() in file.bytes for name in SCALERS):
        return {}
    return {
        call.args[0].id: (ast.unparse(call.func.value), call)
        for call in file.index.calls.get("fit_transform", [])
        if len(call.args) == 1
        and isinstance(call.args[0], ast.Name)
        and isinstance(call.func, ast.Attribute)
        and file.scope_of(call).node is scope
    }
