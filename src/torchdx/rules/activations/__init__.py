"""Rules about activations and initialisation."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.finding import Edit
    from torchdx.source import SourceFile


def drawn_after(file: SourceFile, made: ast.AST | None, drawn: str) -> list[Edit]:
    """A line that draws all matrices and kernels, after the statement that makes a model of layers in a row."""
    statement = file.statement(made) if made is not None else None
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
        return []
    target, func = statement.targets[0], statement.value.func
    if not isinstance(target, ast.Name) or not isinstance(func, ast.Attribute) or func.attr != "Sequential":
        return []
    line = f"[{file.text_of(func.value)}.init.{drawn}(p) for p in {target.id}.parameters() if p.dim() > 1]"
    return [edits.insert_after(file, statement, line)]
