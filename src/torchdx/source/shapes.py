"""The names that a program gives to the dimensions of a tensor: `n, c, h, w = x.shape`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from torchdx.source.index import Binding

if TYPE_CHECKING:
    from torchdx.source.expressions import Call
    from torchdx.source.file import SourceFile
    from torchdx.source.program import Program


def names_of_shape(call: Call, tensor: ast.Name, named: list[ast.Name]) -> list[str] | None:
    """What the dimensions of the tensor were called, where all the names come from its shape as it is now."""
    file, names = call.file, call.program.names
    found = [names.binding(file, name) for name in named]
    values = {id(one.value) if isinstance(one, Binding) and one.how == "assign" and one.steps else 0 for one in found}
    first = found[0]
    if len(values) != 1 or 0 in values or not isinstance(first, Binding) or first.value is None:
        return None
    shape = first.value.func if isinstance(first.value, ast.Call) and not first.value.args else first.value
    statement = file.statement(first.value)
    if (
        not isinstance(shape, ast.Attribute)
        or shape.attr not in ("shape", "size")
        or not isinstance(statement, ast.Assign)
    ):
        return None
    of, target = shape.value, statement.targets[0]
    if not isinstance(of, ast.Name) or of.id != tensor.id or not isinstance(target, ast.Tuple | ast.List):
        return None
    dimensions = [one.id for one in target.elts if isinstance(one, ast.Name)]
    distinct = len(set(dimensions)) == len(target.elts)
    return dimensions if distinct and _is_same(file, call.program, of, tensor) else None


def _is_same(file: SourceFile, program: Program, one: ast.Name, other: ast.Name) -> bool:
    """Have both uses of a name the same value?"""
    first, second = (program.names.binding(file, name) for name in (one, other))
    as_lists = [found if isinstance(found, list) else [found] for found in (first, second)]
    return all(as_lists) and [id(binding) for binding in as_lists[0]] == [id(binding) for binding in as_lists[1]]
