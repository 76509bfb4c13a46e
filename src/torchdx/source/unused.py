"""Parts of data that are split off, or made like others, and never read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from torchdx.source.index import last_word
from torchdx.source.reading import words
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.source.file import SourceFile
    from torchdx.source.index import Scope
    from torchdx.source.program import Program

SPLITS = words("random_split train_test_split split tensor_split split_dataset")


class Unused(NamedTuple):
    """A name that is never read, the part it stands beside, and all that is made of that one in the same scope."""

    file: SourceFile
    scope: ast.AST
    node: ast.AST
    name: str
    trained: str
    used: frozenset[str]


def held_out_unused(program: Program) -> Iterator[Unused]:
    """Every part that is never read, of data the only other part of which is read."""
    for file in program.torch_files:
        nodes = tuple(file.index.parents)
        read: dict[str, list[ast.Name]] = {}
        for one in nodes:
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and not _is_of_its_own(file, one):
                read.setdefault(one.id, []).append(one)
        by_scope = assignments(file, nodes)
        for scope in tuple(file.index.scopes.values()):
            assigned = by_scope.get(scope.node, [])
            bound = [name for name in scope.bindings if not name.startswith("_")] if assigned else []
            unread_here = {name for name in bound if not _is_read(program, file, scope, read.get(name, []))}
            if not unread_here:
                continue
            for group in groups(program, file, assigned):
                unread = [name for name in group if name in unread_here]
                others = [name for name in group if name not in unread_here and not name.startswith("_")]
                if len(others) != 1 or not unread:
                    continue
                node = next((binding.node for binding in scope.bindings.get(unread[0], ())), scope.node)
                yield Unused(file, scope.node, node, unread[0], others[0], made_of(assigned, others[0]))


def _is_of_its_own(file: SourceFile, use: ast.Name) -> bool:
    """Is it read for nothing but its own next value, as in `x = (x - mean) / std`?"""
    statement = file.statement(use)
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if len(targets) != 1 or not isinstance(statement, ast.Assign):
        return False
    bound = targets[0].elts if isinstance(targets[0], ast.Tuple) else targets
    value = statement.value
    each = value.args[-1] if isinstance(value, ast.Call) and value.args else None
    if isinstance(value, ast.GeneratorExp | ast.ListComp) and len(value.generators) == 1:
        each = value.generators[0].iter
    one_by_one = isinstance(each, ast.Tuple | ast.List) and [*map(ast.unparse, bound)] == [*map(ast.unparse, each.elts)]
    if isinstance(value, ast.Tuple) and len(value.elts) == len(bound):  # as in `y, z = y[:, None], z[:, None]`
        own = [_names(one) & {ast.unparse(b) for b in bound} for one in value.elts]
        one_by_one = all(read <= {ast.unparse(b)} for read, b in zip(own, bound, strict=True))
    return (len(bound) == 1 or one_by_one) and any(isinstance(one, ast.Name) and one.id == use.id for one in bound)


def _is_read(program: Program, file: SourceFile, scope: Scope, uses: list[ast.Name]) -> bool:
    """Do any of these uses of a name mean the one that is bound in this scope?"""
    return any(program.names.visible(file.scope_of(use), use.id)[0] is scope for use in uses)


def groups(program: Program, file: SourceFile, assigned: list[ast.Assign]) -> Iterator[list[str]]:
    """Names of parts of the same data, or of things made by the same call: datasets, loaders, what a function gives."""
    made: dict[str, list[str]] = {}
    for node in assigned:
        target, value = node.targets[0], node.value
        names = [part.id for part in target.elts if isinstance(part, ast.Name)] if isinstance(target, ast.Tuple) else []
        if isinstance(target, ast.Tuple) and len(names) == len(target.elts) > 1:
            if isinstance(value, ast.Call) and last_word(value) in SPLITS:
                count = len(value.args) if last_word(value) == "train_test_split" else 1
                for first in range(max(count, 1)):
                    yield names[2 * first : 2 * first + 2] if last_word(value) == "train_test_split" else names
            elif isinstance(value, ast.Tuple) and len(value.elts) == len(names):
                cut = [one for one in value.elts if isinstance(one, ast.Subscript) and isinstance(one.slice, ast.Slice)]
                if len(cut) == len(names) and len({file.text_of(one.value) for one in cut}) == 1:
                    yield names
                for name, one in zip(names, value.elts, strict=True):
                    _put(program, file, made, name, one)
            elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
                for place, name in enumerate(names):
                    _add(made, f"{value.func.id} {place}", name)
        elif isinstance(target, ast.Name):
            _put(program, file, made, target.id, value)
    yield from (names for names in made.values() if len(names) > 1)


def _put(program: Program, file: SourceFile, made: dict[str, list[str]], name: str, value: ast.expr) -> None:
    found = program.evaluate(file, value) if isinstance(value, ast.Call) else None
    if isinstance(value, ast.Call) and isinstance(found, Instance):
        data = found.is_loader or any(one.endswith(("Dataset", "Subset")) for one in _kinds(found))
        if data:
            _add(made, file.text_of(value.func), name)
    elif isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name) and _is_part(value.slice):
        _add(made, f"{value.value.id}[]", name)


def _add(made: dict[str, list[str]], key: str, name: str) -> None:
    if name not in made.setdefault(key, []):
        made[key].append(name)


def _is_part(index: ast.expr) -> bool:
    """Does it choose some of the rows: a stretch, or those of these numbers?"""
    return isinstance(index, ast.Slice | ast.Name) or (
        isinstance(index, ast.Subscript) and isinstance(index.slice, ast.Slice)
    )


def _kinds(instance: Instance) -> Iterator[str]:
    yield instance.name
    if instance.definition is not None:
        yield from instance.definition.ancestry


def assignments(file: SourceFile, nodes: tuple[ast.AST, ...]) -> dict[ast.AST, list[ast.Assign]]:
    """Assignments to one target, by the scope they stand in."""
    found: dict[ast.AST, list[ast.Assign]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            found.setdefault(file.scope_of(node).node, []).append(node)
    return found


def made_of(assigned: list[ast.Assign], name: str) -> frozenset[str]:
    """The names of what is made of something in a scope."""
    parts = [(_names(node.value), _names(node.targets[0])) for node in assigned]
    beside = (one for node in assigned for one in _beside(node, name))
    used, before = {name, *beside}, 0
    while before != len(used):
        before = len(used)
        for read, bound in parts:
            if used & read:
                used |= bound
    return frozenset(used)


def _beside(node: ast.Assign, name: str) -> set[str]:
    """What is cut in the same way in the same line, or comes of the same call: the labels of these inputs."""
    target, value = node.targets[0], node.value
    names = [part.id for part in target.elts if isinstance(part, ast.Name)] if isinstance(target, ast.Tuple) else []
    if name not in names:
        return set()
    if isinstance(value, ast.Call) and last_word(value) not in SPLITS and isinstance(value.func, ast.Name):
        return set(names)
    cut = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(names) else []
    if not all(isinstance(one, ast.Subscript) for one in cut):
        return set()
    slices = [ast.unparse(one.slice) for one in cut if isinstance(one, ast.Subscript)]
    return set(names) if len(set(slices)) == 1 else set()


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
