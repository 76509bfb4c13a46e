"""Names of one tensor within a function: `flat = x.view(len(x), -1)` gives `x` another one, and no copy."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from torchdx.source.reading import words

if TYPE_CHECKING:
    from torchdx.source.definitions import UserFunction

VIEWS = words("view detach squeeze unsqueeze view_as t transpose permute swapaxes")


def aliases_of(function: UserFunction, name: str) -> set[str]:
    """This name and all others of the function that only ever stand for its tensor, or a view of it."""
    bindings, known = function.file.index.scopes[function.node].bindings, {name}
    for node in ast.walk(function.node):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            value: ast.expr = node.value
            while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in VIEWS:
                value = value.func.value
            other = node.targets[0].id
            only = all(one.node is node or one.how == "augment" for one in bindings.get(other, ()))
            if only and isinstance(value, ast.Name) and value.id in known:
                known.add(other)
    return known
