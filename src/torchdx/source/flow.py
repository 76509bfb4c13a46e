"""Which assignment does a use of a name see? Answered by where both stand, without running anything."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from torchdx.source.file import SourceFile
from torchdx.source.index import LOOPS, Binding

Path: TypeAlias = tuple[tuple[ast.AST, str, int], ...]
BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
STEPS = (ast.stmt, ast.ExceptHandler, ast.match_case)
LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


def path_of(file: SourceFile, node: ast.AST, scope: ast.AST) -> Path:
    """The way from the scope down to the node's statement: (owner, block, place in the block) at each step."""
    parents = file.index.parents
    while node is not scope and not isinstance(node, STEPS):
        above = parents.get(node)
        if above is None:
            return ()
        node = above
    known = file.paths.get((node, scope))
    if known is None:
        known = file.paths[node, scope] = _path_of(file, node, scope)
    return known


def _path_of(file: SourceFile, node: ast.AST, scope: ast.AST) -> Path:
    above = file.parent(node)
    if node is scope or above is None:
        return ()
    outer = path_of(file, above, scope)
    for block in BLOCKS:
        nodes = getattr(above, block, None)
        if isinstance(nodes, list) and node in nodes:
            return (*outer, (above, block, nodes.index(node)))
    return outer


def reaching(file: SourceFile, bindings: Sequence[Binding], use: ast.AST, scope: ast.AST) -> list[Binding]:
    """Those of a scope's bindings of one name that a use of the name may see."""
    if len(bindings) == 1:
        return list(bindings)
    here = path_of(file, use, scope)
    paths = {binding: path_of(file, binding.node, scope) for binding in bindings}
    before = [b for b in bindings if b.how == "parameter" or _precedes(b, paths[b], here, file, use)]
    seen = [
        b
        for place, b in enumerate(before)
        if not any(_hides(paths[later], paths[b], here, later) for later in before[place + 1 :])
        and not _leaves(paths[b], here)
    ]
    return seen + _from_last_round(bindings, before, paths, here) or list(bindings)


def surviving(file: SourceFile, bindings: Sequence[Binding], scope: ast.AST) -> list[Binding]:
    """Those bindings that may still hold when the scope's code has run to its end."""
    if len(bindings) == 1:
        return list(bindings)
    paths = [path_of(file, binding.node, scope) for binding in bindings]
    return [
        binding
        for place, binding in enumerate(bindings)
        if not any(_same_way(later, paths[place]) for later in paths[place + 1 :])
    ]


def _precedes(binding: Binding, path: Path, here: Path, file: SourceFile, use: ast.AST) -> bool:
    for (owner, block, place), (other, other_block, other_place) in zip(path, here, strict=False):
        if owner is not other:
            return False
        if block != other_block:
            return not isinstance(owner, ast.If) and BLOCKS.index(block) < BLOCKS.index(other_block)
        if place != other_place:
            return place < other_place and not (isinstance(owner, ast.Try) and block == "handlers")
    if len(path) < len(here):
        return True
    same = isinstance(binding.node, (ast.NamedExpr, ast.withitem))
    return same and (binding.node.lineno if isinstance(binding.node, ast.NamedExpr) else 0) <= getattr(use, "lineno", 0)


def _hides(later: Path, earlier: Path, here: Path, binding: Binding) -> bool:
    """Does every way from the earlier binding to here pass the later one?"""
    if binding.how == "element":
        return len(later) < len(here) and later == here[: len(later)]
    return _same_way(later, earlier) or _starts_with(here, later)


def _same_way(later: Path, earlier: Path) -> bool:
    return bool(later) and _starts_with(earlier, later)


def _starts_with(path: Path, owner: Path) -> bool:
    """Is the block that `owner` stands in one of those that `path` goes through? A `with` is always gone through."""
    owner = out_of_with(owner)
    depth = len(owner) - 1
    if depth < 0:
        return True
    return path[:depth] == owner[:-1] and len(path) > depth and path[depth][:2] == owner[-1][:2]


def out_of_with(path: Path) -> Path:
    """The way to the outermost `with` around a statement's block that no branch or loop stands between."""
    while len(path) > 1 and isinstance(path[-1][0], (ast.With, ast.AsyncWith)):
        path = path[:-1]
    return path


def _leaves(path: Path, here: Path) -> bool:
    """Does the binding's block end by leaving, with the use outside it?"""
    for depth in range(len(path) - 1, 0, -1):
        owner, block, _ = path[depth]
        last = getattr(owner, block)[-1]
        outside = len(here) <= depth or here[depth][:2] != path[depth][:2] or here[:depth] != path[:depth]
        if outside and isinstance(last, LEAVES):
            return True
    return False


def _from_last_round(
    bindings: Iterable[Binding], before: Sequence[Binding], paths: dict[Binding, Path], here: Path
) -> list[Binding]:
    """Bindings further down the same loop, seen in its next round unless one above hides them."""
    found = []
    for binding in bindings:
        if binding in before:
            continue
        path = paths[binding]
        shared = 0
        while shared < min(len(path), len(here)) and path[shared][:2] == here[shared][:2]:
            shared += 1
            if path[shared - 1] != here[shared - 1]:
                break
        loops = [depth for depth in range(shared) if isinstance(path[depth][0], LOOPS)]
        if any(not _set_each_round(before, paths, here, depth) for depth in loops):
            found.append(binding)
    return found


def _set_each_round(before: Sequence[Binding], paths: dict[Binding, Path], here: Path, depth: int) -> bool:
    """Does each round of the loop at this depth set the name anew before it is used?"""
    return any(
        (binding.how == "element" and paths[binding] == here[:depth])
        or (
            len(paths[binding]) > depth
            and paths[binding][:depth] == here[:depth]
            and _starts_with(here, paths[binding])
        )
        for binding in before
    )


def is_passed_before(file: SourceFile, first: ast.AST, use: ast.AST, scope: ast.AST) -> bool:
    """Does every way to the use come past the first place, which stands in an earlier statement of a block around?"""
    before, here = path_of(file, first, scope), path_of(file, use, scope)
    for depth in range(len(before) - 1, len(out_of_with(before)) - 2, -1):
        if before[:depth] == here[:depth] and len(here) > depth and before[depth][:2] == here[depth][:2]:
            return before[depth][2] < here[depth][2]
    return False
