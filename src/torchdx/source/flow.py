"""Which assignment does a use of a name see? Answered by where both stand, without running anything."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    loops = [depth for depth, (owner, _, _) in enumerate(here) if isinstance(owner, LOOPS)]
    backwards = _before(file, bindings, use, here, scope)
    before: dict[Binding, Path] = {}
    seen: list[Binding] = []
    passed: set[tuple[ast.AST, str]] = set()
    for binding, path in backwards:
        before[binding] = path
        if passed.isdisjoint(step[:2] for step in path) and not _leaves(path, here):
            seen.append(binding)
        if _hides_all(binding, path, here):
            break
        if path and binding.how != "element":
            passed.add(out_of_with(path)[-1][:2])
    seen.reverse()
    if loops and not _set_each_round(before, here, loops[-1]):
        before.update(backwards)
        seen += _from_last_round(file, bindings, before, here, scope)
    return seen or list(bindings)


def _before(
    file: SourceFile, bindings: Sequence[Binding], use: ast.AST, here: Path, scope: ast.AST
) -> Iterator[tuple[Binding, Path]]:
    """The bindings that come before a use, the last one first, each with the way to it."""
    last = _last_line(here)
    for binding in reversed(bindings):
        if binding.how == "parameter":
            yield binding, path_of(file, binding.node, scope)
        elif getattr(binding.node, "lineno", 0) <= last:  # else it is not worth a closer look
            path = path_of(file, binding.node, scope)
            if _precedes(binding, path, here, file, use):
                yield binding, path


def _last_line(path: Path) -> float:
    """The last line of the statement at the end of a way."""
    if not path:
        return math.inf
    owner, block, place = path[-1]
    return getattr(getattr(owner, block)[place], "end_lineno", None) or math.inf


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


def _hides_all(binding: Binding, path: Path, here: Path) -> bool:
    """Does every way to here pass the binding, so that nothing above it is seen?"""
    if binding.how == "element":
        return len(path) < len(here) and path == here[: len(path)]
    return _starts_with(here, path)


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
    file: SourceFile, bindings: Iterable[Binding], before: Mapping[Binding, Path], here: Path, scope: ast.AST
) -> list[Binding]:
    """Bindings further down the same loop, seen in its next round unless one above hides them."""
    found = []
    open_loops = {
        depth
        for depth, (owner, _, _) in enumerate(here)
        if isinstance(owner, LOOPS) and not _set_each_round(before, here, depth)
    }
    for binding in bindings:
        if binding in before:
            continue
        path = path_of(file, binding.node, scope)
        shared = 0
        while shared < min(len(path), len(here)) and path[shared][:2] == here[shared][:2]:
            shared += 1
            if path[shared - 1] != here[shared - 1]:
                break
        if any(depth in open_loops for depth in range(shared)):
            found.append(binding)
    return found


def _set_each_round(before: Mapping[Binding, Path], here: Path, depth: int) -> bool:
    """Does each round of the loop at this depth set the name anew before it is used?

    If so, each round of the loops around it does, too.
    """
    return any(
        (binding.how == "element" and path == here[:depth])
        or (len(path) > depth and path[:depth] == here[:depth] and _starts_with(here, path))
        for binding, path in before.items()
    )


def is_passed_before(file: SourceFile, first: ast.AST, use: ast.AST, scope: ast.AST) -> bool:
    """Does every way to the use come past the first place, which stands in an earlier statement of a block around?"""
    before, here = path_of(file, first, scope), path_of(file, use, scope)
    for depth in range(len(before) - 1, len(out_of_with(before)) - 2, -1):
        if before[:depth] == here[:depth] and len(here) > depth and before[depth][:2] == here[depth][:2]:
            return before[depth][2] < here[depth][2]
    return False
