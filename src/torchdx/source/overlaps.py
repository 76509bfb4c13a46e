"""Parts of data that hold the same samples: cut alike from one whole, or made by the same call."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from torchdx.source.expressions import Call
from torchdx.source.index import last_word
from torchdx.source.reading import words
from torchdx.source.unused import assignments, made_of

if TYPE_CHECKING:
    from torchdx.source.definitions import UserFunction
    from torchdx.source.file import SourceFile
    from torchdx.source.program import Program

CHANCE = re.compile(r"rand|choice|sampl|shuffle|normal|perm|nois|bernoulli|multinomial|draw|next\(|rng|gen|pop\(|read")
SEEDS = words("manual_seed default_rng Random RandomState seed")


class Twice(NamedTuple):
    """Two names of the same samples in one scope, where they are made so, and all that is made of each."""

    file: SourceFile
    scope: ast.AST
    node: ast.AST
    names: tuple[str, str]
    used: tuple[frozenset[str], frozenset[str]]


class _Made(NamedTuple):
    """What one assignment binds, and what it is made of."""

    node: ast.Assign
    names: tuple[str, ...]
    cuts: dict[str, str]
    calls: list[ast.Call]


def same_samples(program: Program) -> Iterator[Twice]:
    """Every two assignments in a scope that bind the same samples, or one of them some of the other's."""
    for file in program.torch_files:
        for scope, assigned in assignments(file, tuple(file.index.parents)).items():
            made = [part for node in sorted(assigned, key=lambda node: node.lineno) for part in _each(node)]
            for one, other in combinations((part for part in made if part.names), 2):
                if set(one.names) & set(other.names):
                    continue
                if _are_cut_alike(one, other) or any(
                    _is_the_same(program, file, a, b) for a in one.calls for b in other.calls
                ):
                    used = (made_of(assigned, one.names[0]), made_of(assigned, other.names[0]))
                    yield Twice(file, scope, other.node, (one.names[0], other.names[0]), used)


def _each(node: ast.Assign) -> list[_Made]:
    """What it binds: of `a, b = make(), make()` each by itself."""
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        pairs = zip(target.elts, value.elts, strict=True)
        if all(isinstance(one, ast.Call) for one in value.elts):
            return [_made(node, one, part) for one, part in pairs]
    return [_made(node, target, value)]


def _made(node: ast.Assign, target: ast.expr, value: ast.expr) -> _Made:
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    names = tuple(part.id for part in parts if isinstance(part, ast.Name))
    cuts = {
        one.value.id: ast.unparse(one.slice)
        for one in ast.walk(value)
        if isinstance(one, ast.Subscript) and isinstance(one.value, ast.Name) and isinstance(one.slice, ast.Slice)
    }
    options = {inner for one in ast.walk(value) if isinstance(one, ast.keyword) for inner in ast.walk(one.value)}
    calls = [one for one in ast.walk(value) if isinstance(one, ast.Call) and (one.args or one.keywords)]
    calls = [one for one in calls if one not in options]
    return _Made(node, names if len(names) == len(parts) else (), cuts, calls)


def _are_cut_alike(one: _Made, other: _Made) -> bool:
    """Are both stretches of the very same things, from the first sample on?"""
    return (
        bool(one.cuts)
        and {*one.cuts} == {*other.cuts}
        and all(map(_is_first, (*one.cuts.values(), *other.cuts.values())))
    )


def _is_first(cut: str) -> bool:
    start, _, rest = cut.partition(":")
    return start in ("", "0") and bool(rest) and ":" not in rest and not rest.startswith("-")


def _is_the_same(program: Program, file: SourceFile, one: ast.Call, other: ast.Call) -> bool:
    """Are these calls of one function that give the same samples each time, as no chance is in them or one seed?"""
    if ast.dump(one.func) != ast.dump(other.func):
        return False
    functions = program.effects.targets(Call(program, file, one))
    if len(functions) != 1 or isinstance(functions[0].node, ast.Lambda):
        return False
    given = (_given(functions[0], one), _given(functions[0], other))
    if {*given[0]} != {*given[1]}:
        return False
    differ = {name for name in given[0] if ast.dump(given[0][name]) != ast.dump(given[1][name])}
    seeds = _seeds(functions[0]) & {name for name, value in given[0].items() if isinstance(value, ast.Constant)}
    if seeds:
        sizes = all(_is_size(part[name]) for part in given for name in differ)
        return not seeds & differ and (not differ or (sizes and _draws_one_by_one(functions[0], differ)))
    drawn = CHANCE.search(ast.unparse(functions[0].node) + ast.unparse(one))
    return not differ and (not drawn or _begins_anew(functions[0]))


def _is_size(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def _given(function: UserFunction, call: ast.Call) -> dict[str, ast.expr]:
    names = [one.arg for one in function.node.args.args]
    if function.self_name is not None:
        names = names[1:]
    return dict(zip(names, call.args, strict=False)) | {one.arg: one.value for one in call.keywords if one.arg}


def _seeds(function: UserFunction) -> set[str]:
    """The parameters that a generator of random numbers is begun with."""
    calls = (one for one in ast.walk(function.node) if isinstance(one, ast.Call) and last_word(one) in SEEDS)
    return {arg.id for one in calls for arg in one.args if isinstance(arg, ast.Name)}


def _begins_anew(function: UserFunction) -> bool:
    """Does it begin its random numbers with the same one each time?"""
    calls = (one for one in ast.walk(function.node) if isinstance(one, ast.Call) and last_word(one) in SEEDS)
    return any(one.args and isinstance(one.args[0], ast.Constant) for one in calls)


def _draws_one_by_one(function: UserFunction, sizes: set[str]) -> bool:
    """Does it make one sample after the other, so that the first ones are the same however many there are?"""
    rounds = [one.iter for one in ast.walk(function.node) if isinstance(one, ast.For | ast.comprehension)]
    return any(isinstance(one, ast.Name) and one.id in sizes for it in rounds for one in ast.walk(it))
