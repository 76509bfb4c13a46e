"""What is gone through, or handed to a model, where nothing is trained."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.expressions import Call
from torchdx.source.index import last_word
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.source.definitions import UserFunction
    from torchdx.source.file import SourceFile
    from torchdx.source.program import Program


def drawn_by_functions(program: Program, file: SourceFile, scope: ast.AST) -> Iterator[ast.expr]:
    """What functions of a module that only measure go over, of what the module binds; and what blocks of it read."""
    bound = {name for name, made in file.index.scopes[scope].bindings.items() if any(m.how == "assign" for m in made)}
    for function in file.index.functions if isinstance(scope, ast.Module) else ():
        if isinstance(function, ast.FunctionDef) and file.scope_of(function).node is scope:
            effects = {str(event.effect) for event in program.effects.of(program.function(file, function))}
            loops = [one for one in ast.walk(function) if isinstance(one, ast.For | ast.comprehension)]
            given = {one.arg for one in function.args.args}
            if effects & {"no_grad", "eval"} and "backward" not in effects:
                yield from (
                    one.iter for one in loops if isinstance(one.iter, ast.Name) and one.iter.id in bound - given
                )
    for block in (
        one for one in tuple(file.index.parents) if isinstance(one, ast.With) and file.scope_of(one).node is scope
    ):
        off = [last_word(i.context_expr) for i in block.items if isinstance(i.context_expr, ast.Call)]
        inner = [one for part in block.body for one in ast.walk(part)]
        if {"no_grad", "inference_mode"} & set(off) and not any(isinstance(one, ast.For) for one in inner):
            calls = [one for one in inner if isinstance(one, ast.Call) and one.args]
            models = [one for one in calls if isinstance(program.evaluate(file, one.func), Instance)]
            rounds = [one for one in inner if isinstance(one, ast.comprehension)]
            of = {name.id: one.iter for one in rounds for name in ast.walk(one.target) if isinstance(name, ast.Name)}
            yield from (of.get(one.args[0].id, one.args[0]) for one in models if isinstance(one.args[0], ast.Name))


def drawn_without_gradients(file: SourceFile, scope: ast.AST) -> Iterator[ast.expr]:
    """What loops in `with torch.no_grad():` of a scope go over."""
    for loop in file.index.loops:
        if isinstance(loop, ast.For) and file.scope_of(loop).node is scope and not isinstance(loop.iter, ast.Constant):
            around = [one for one in file.ancestors(loop) if isinstance(one, ast.With)]
            off = [last_word(i.context_expr) for w in around for i in w.items if isinstance(i.context_expr, ast.Call)]
            if {"no_grad", "inference_mode"} & set(off):
                yield loop.iter
    for one in tuple(file.index.parents):
        if isinstance(one, ast.With) and file.scope_of(one).node is scope:
            off = [last_word(i.context_expr) for i in one.items if isinstance(i.context_expr, ast.Call)]
            inner = (part for block in one.body for part in ast.walk(block) if isinstance(part, ast.comprehension))
            loaders = (part.iter for part in inner if isinstance(part.iter, ast.Call) and part.iter.args)
            if {"no_grad", "inference_mode"} & set(off):
                yield from (part for part in loaders if last_word(part) == "DataLoader")


def names_in(node: ast.AST) -> set[str]:
    """The names that an expression reads."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def effects_of(program: Program, file: SourceFile, node: ast.Call) -> set[str]:
    """Of a call of the program's own: does it train, or is it one that only measures?"""
    functions = program.effects.targets(Call(program, file, node))
    effects = {str(event.effect) for function in functions for event in program.effects.of(function)}
    effects |= {
        str(event.effect) for one in functions for inner in _given_back(one) for event in program.effects.of(inner)
    }
    if any("no_grad" in word or "inference_mode" in word for one in functions for word in one.decorators):
        effects.add("no_grad")
    return effects & {"backward", "no_grad", "eval"}


def _given_back(function: UserFunction) -> Iterator[UserFunction]:
    """The functions that it makes and returns, to be called with what it was given."""
    names = {
        one.value.id
        for one in ast.walk(function.node)
        if isinstance(one, ast.Return) and isinstance(one.value, ast.Name)
    }
    for inner in ast.iter_child_nodes(function.node):
        if isinstance(inner, ast.FunctionDef) and inner.name in names:
            yield function.program.function(function.file, inner)
