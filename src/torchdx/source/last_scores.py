"""Data held out for the end, and what the score there is taken on in their place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from torchdx.source.expressions import Call
from torchdx.source.index import last_word
from torchdx.source.measuring import effects_of, names_in
from torchdx.source.unused import SPLITS, assignments, groups, held_out_unused, made_of

if TYPE_CHECKING:
    from torchdx.source.definitions import UserFunction
    from torchdx.source.file import SourceFile
    from torchdx.source.program import Program


class Score(NamedTuple):
    """What is measured, or handed on; the name of what was trained on, and that of what was held out."""

    file: SourceFile
    node: ast.AST
    trained: str
    name: str


def never_tested(program: Program) -> Iterator[Score]:
    """Scores after all training, taken on one of three parts that is trained on, where the last part is never read.

    No round of training measures on that one: where it does, its score is followed on purpose.
    """
    for file in program.torch_files:
        read = {
            one.id for one in tuple(file.index.parents) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)
        }
        for scope, assigned in assignments(file, tuple(file.index.parents)).items():
            for names in (*groups(program, file, assigned), *_alike(program, file, assigned)):
                unread = [name for name in names if name not in read and not name.startswith("_")]
                rest = [node for node in assigned if len(_bound(node) & {*names}) < 2]
                parts = {name: made_of(rest, name) for name in names if name in read}
                if len(unread) != 1 or len(parts) < 2 or any(name.startswith("_") for name in names):
                    continue
                found = _last(program, file, scope, parts)
                if found is not None:
                    yield Score(file, found[1], found[0], unread[0])
                    return


def _last(
    program: Program, file: SourceFile, scope: ast.AST, parts: dict[str, frozenset[str]]
) -> tuple[str, ast.Call] | None:
    """The part that is trained on, and the one call that measures on it, when no other part is measured on any more."""
    calls = [(node, effects_of(program, file, node)) for node in file.index.calls_in.get(scope, ())]
    rounds = [loop.node for loop in program.training_loops if file.scope_of(loop.node).node is scope]
    trains = [node for node, effects in calls if "backward" in effects]
    told = [(node, _parts(node, parts)) for node, effects in calls if effects and "backward" not in effects]
    measured = [(node, names) for node, names in told if names]
    end = max((node.lineno for node in (*trains, *rounds)), default=0)
    after = [one for one in measured if not _is_repeated(file, one[0]) and one[0].lineno > end]
    given = [names for node in trains if (names := _parts(node, parts))]
    fitted = {names[0] for names in given} | {
        name
        for name in parts
        for node in rounds
        if names_in(node.iter if isinstance(node, ast.For) else node) & parts[name]
    }
    watched = {name for one in measured if one not in after for name in one[1]} | {
        name for names in given for name in names[1:]
    }
    at_last = {name for _, names in after for name in names}
    if len(at_last) != 1 or len(fitted) != 1 or at_last != fitted or not watched or watched & fitted:
        return None
    others = [node for node, names in told if not names and node.lineno > end and not _is_repeated(file, node)]
    return None if others else (at_last.pop(), after[-1][0])


def _bound(node: ast.Assign) -> set[str]:
    return names_in(node.targets[0])


def _is_repeated(file: SourceFile, node: ast.AST) -> bool:
    return next(file.loops_around(node), None) is not None


def _parts(call: ast.Call, parts: dict[str, frozenset[str]]) -> list[str]:
    """The parts that a call is given, in order."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    told = [name for arg in given for name in parts if names_in(arg) & parts[name]]
    return [*dict.fromkeys(told)]


def _alike(program: Program, file: SourceFile, assigned: list[ast.Assign]) -> Iterator[list[str]]:
    """Names that are bound at once to what one function gives for each: `train, val = (make(n) for n in sizes)`."""
    for node in assigned:
        target, value = node.targets[0], node.value
        names = [part.id for part in target.elts if isinstance(part, ast.Name)] if isinstance(target, ast.Tuple) else []
        if len(names) < 3 or not isinstance(target, ast.Tuple) or len(names) != len(target.elts):
            continue
        made = isinstance(value, ast.GeneratorExp | ast.ListComp) and isinstance(value.elt, ast.Call)
        if made or _is_made_by_one(value) or (isinstance(value, ast.Call) and _gives_parts(program, file, value)):
            yield names


def _is_made_by_one(value: ast.expr | None) -> bool:
    """Is it several things, each made by a call of the same function, or a tuple of such calls?"""
    if not isinstance(value, ast.Tuple | ast.List) or len(value.elts) < 3:
        return False
    made = {ast.unparse(one.func) if isinstance(one, ast.Call) else "" for one in value.elts}
    return len(made) == 1 and "" not in made


def _gives_parts(program: Program, file: SourceFile, call: ast.Call) -> bool:
    """Does a function of the program return several things that are made alike?"""
    functions = program.effects.targets(Call(program, file, call))
    returns = [one.value for function in functions for one in _returns(function)]
    return bool(returns) and all(map(_is_made_alike, returns))


def _is_made_alike(value: ast.expr | None) -> bool:
    if isinstance(value, ast.GeneratorExp | ast.ListComp):
        return isinstance(value.elt, ast.Call | ast.Tuple)
    if isinstance(value, ast.Call) and last_word(value) in ("tuple", "list", "map", *SPLITS):
        return (
            last_word(value) in SPLITS or not value.args or _is_made_alike(value.args[0]) or last_word(value) == "map"
        )
    pairs = isinstance(value, ast.Tuple) and len(value.elts) > 2 and all(isinstance(e, ast.Tuple) for e in value.elts)
    return pairs or _is_made_by_one(value)


def _returns(function: UserFunction) -> Iterator[ast.Return]:
    """What it returns itself, not what functions inside of it do."""
    todo: list[ast.AST] = [*getattr(function.node, "body", [])] if isinstance(function.node, ast.FunctionDef) else []
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Return):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)


def trained_on_all(program: Program) -> Iterator[Score]:
    """Data that are handed on whole beside a part of themselves, where the other part of that split is never read."""
    for unused in held_out_unused(program):
        by_part: dict[str, ast.AST] = {}
        whole: dict[str, ast.AST] = {}
        for node in _nodes(unused.file, unused.scope, ast.Tuple):
            for one in node.elts if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) else ():
                if isinstance(one, ast.Name):
                    whole.setdefault(one.id, node)
                elif isinstance(one, ast.Subscript) and isinstance(one.value, ast.Name) and _is_by(one, unused.trained):
                    by_part.setdefault(one.value.id, node)
        both = [name for name in by_part if whole.get(name) is by_part[name]]
        if both:
            yield Score(unused.file, by_part[both[0]], both[0], unused.trained)
            return


def _is_by(part: ast.Subscript, index: str) -> bool:
    return isinstance(part.slice, ast.Name) and part.slice.id == index


def _nodes(file: SourceFile, scope: ast.AST, kind: type[ast.AST]) -> Iterator[ast.AST]:
    """Nodes of a kind in a scope itself."""
    return (one for one in tuple(file.index.parents) if isinstance(one, kind) and file.scope_of(one).node is scope)
