"""Weave a probe into a function's own body, so that no frame is added to it.

A wrapper would show up in tracebacks and shift `warnings.warn(stacklevel=2)` by one file. Instead the function's source
is parsed, calls to the probe are put in, and the code object is replaced in place: same name, same file, same lines and
columns, and still the very same function object for whoever imported it before.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

Probe = Callable[..., None]
_Node = TypeVar("_Node", bound=ast.AST)


class CannotWeave(Exception):
    """The function's source is not at hand, or it cannot be rebuilt from it."""


def weave(function: Callable[..., Any], before: Probe | None = None, after: Probe | None = None) -> None:
    """Have `before(*parameters)` called first and `after(result, *parameters)` last inside `function`.

    A parameter stands for its value at that moment. Decorators are looked through. The probes must not raise.
    What was woven in before stays, and is called first. Raises CannotWeave where the source is missing or does not
    rebuild to a function of the same shape.
    """
    inner = inspect.unwrap(function)
    if not isinstance(inner, types.FunctionType):
        raise CannotWeave(f"{function!r} is not a Python function")
    known, befores, afters = _woven.get(inner, (None, (), ()))
    if known is not inner.__code__:
        befores, afters = (), ()
    befores = (*befores, before) if before else befores
    afters = (*afters, after) if after else afters
    try:
        tree = _parse(inner)
    except (OSError, SyntaxError, TypeError) as error:
        raise CannotWeave(str(error)) from error
    definition = _definition(tree, inner.__name__)
    _put_in(definition, bool(befores), bool(afters))
    code = _compile(definition, inner)
    probes = {_BEFORE: _together(befores), _AFTER: _together(afters)}
    constants = tuple(probes.get(c, c) if isinstance(c, str) else c for c in code.co_consts)
    inner.__code__ = code.replace(co_consts=constants)
    _woven[inner] = (inner.__code__, befores, afters)


_BEFORE, _AFTER = "torchdx: before", "torchdx: after"
_Woven = tuple[types.CodeType, tuple[Probe, ...], tuple[Probe, ...]]
_woven: weakref.WeakKeyDictionary[types.FunctionType, _Woven] = weakref.WeakKeyDictionary()


def _together(probes: tuple[Probe, ...]) -> Probe | None:
    """The probes as one."""
    if len(probes) < 2:
        return probes[0] if probes else None

    def all_of_them(*arguments: Any) -> None:
        for probe in probes:
            probe(*arguments)

    return all_of_them


def _parse(function: types.FunctionType) -> ast.Module:
    code = function.__code__
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 : _last_line(code)]
    if not lines:
        raise OSError(f"no source of {function.__qualname__}")
    blank = "\n" * (code.co_firstlineno - 2)  # so that every line keeps its number
    block = "if 1:" if lines[0][:1].isspace() else ""  # so that a method keeps its columns
    return ast.parse(f"{blank}{block}\n{''.join(lines)}")


def _last_line(code: types.CodeType) -> int:
    """The line the code ends on, from its own table: far quicker than `inspect`, which tokenizes the whole function."""
    if sys.version_info < (3, 11):
        return code.co_firstlineno + len(inspect.getsourcelines(code)[0]) - 1
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    ends = [end for _, end, _, _ in code.co_positions() if end is not None]
    return max([code.co_firstlineno, *ends, *map(_last_line, inner)])


def _definition(tree: ast.Module, name: str) -> ast.FunctionDef:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise CannotWeave(f"no definition of {name} in its source")


def _put_in(definition: ast.FunctionDef, before: bool, after: bool) -> None:
    definition.decorator_list = []
    arguments = definition.args
    ordered = [
        *arguments.posonlyargs,
        *arguments.args,
        arguments.vararg,
        *arguments.kwonlyargs,
        arguments.kwarg,
    ]
    names = [argument.arg for argument in ordered if argument]
    if after:
        _tell_returns(definition.body, names)
        last = definition.body[-1]
        definition.body.append(_statement(_AFTER, [ast.Constant(None), *_loads(names)], last))
    if before:
        first = definition.body[0]
        has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        definition.body.insert(int(has_docstring), _statement(_BEFORE, _loads(names), first))


_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where statements hold others."""


def _tell_returns(block: list[ast.stmt], names: list[str]) -> None:
    """Give what each `return` of the function is about to return to the probe, and then return it.

    Only statements are gone through: that is a tenth of what a visit of the whole tree costs.
    """
    for place, statement in enumerate(block):
        if isinstance(statement, ast.Return):
            block[place] = _told(statement, names)
        elif not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for inner in _BLOCKS:
                _tell_returns(getattr(statement, inner, []), names)


def _told(node: ast.Return, names: list[str]) -> ast.Return:
    """`return x` becomes `return (hidden := x, probe(hidden, ...))[0]`, at the same line and columns."""
    value = node.value or _located(ast.Constant(None), node)
    kept = ast.NamedExpr(_located(ast.Name("_torchdx_result", ast.Store()), node), value)
    told = _located(_call(_AFTER, [*_loads(["_torchdx_result"]), *_loads(names)]), node)
    both = ast.copy_location(ast.Tuple([ast.copy_location(kept, node), told], ast.Load()), node)
    first = _located(ast.Constant(0), node)
    return ast.copy_location(ast.Return(ast.copy_location(ast.Subscript(both, first, ast.Load()), node)), node)


def _loads(names: list[str]) -> list[ast.expr]:
    return [ast.Name(name, ast.Load()) for name in names]


def _call(marker: str, arguments: list[ast.expr]) -> ast.Call:
    # A constant cannot be called without a SyntaxWarning, but its attribute can.
    return ast.Call(ast.Attribute(ast.Constant(marker), "__call__", ast.Load()), arguments, [])


def _statement(marker: str, arguments: list[ast.expr], place: ast.stmt) -> ast.Expr:
    return _located(ast.Expr(_call(marker, arguments)), place)


def _located(new: _Node, place: ast.AST) -> _Node:
    """Give a small new tree, all of it, the place of an old node; `ast.fix_missing_locations` would walk everything."""
    for node in ast.walk(new):
        ast.copy_location(node, place)
    return new


def _compile(definition: ast.FunctionDef, function: types.FunctionType) -> types.CodeType:
    """Compile the definition in surroundings like its own, and take its code object out.

    A function around it provides its free variables; a class of the right name around a method provides `__class__`
    and the mangling of private names.
    """
    old = function.__code__
    free = old.co_freevars
    owner = function.__qualname__.rpartition(".")[0].rpartition(".")[2]
    in_class = owner.isidentifier()
    shell = ast.parse(f"def shell():\n class {owner}: pass" if in_class else "def shell(): pass").body[0]
    assert isinstance(shell, ast.FunctionDef)
    bindings: list[ast.stmt] = [ast.Assign([ast.Name(n, ast.Store())], ast.Constant(None)) for n in free]
    inner = shell.body[0]
    if isinstance(inner, ast.ClassDef):
        inner.body = [definition]
        shell.body = [*(_located(binding, definition) for binding in bindings), inner]
    else:  # without the declaration a function that names itself would find the shell's local
        own = [ast.Global([definition.name])] if definition.name not in free else []
        shell.body = [*(_located(binding, definition) for binding in [*bindings, *own]), definition]
    flags = old.co_flags & __future__.annotations.compiler_flag
    code: types.CodeType = compile(ast.Module([shell], []), old.co_filename, "exec", flags=flags, dont_inherit=True)
    for name in ("shell", owner, old.co_name) if in_class else ("shell", old.co_name):
        code = _code_named(code, name)
    if code.co_freevars != free or _parameters(code) != _parameters(old):
        raise CannotWeave(f"{function.__qualname__} does not rebuild to the same shape")
    if sys.version_info >= (3, 11):
        code = code.replace(co_qualname=old.co_qualname)
    return code.replace(co_firstlineno=old.co_firstlineno)


def _parameters(code: types.CodeType) -> tuple[str, ...]:
    flagged = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + flagged]


def _code_named(code: types.CodeType, name: str) -> types.CodeType:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType) and constant.co_name == name:
            return constant
    raise CannotWeave(f"no code of {name}")
