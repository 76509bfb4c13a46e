"""Weights as a program gets at them: what `parameters()`, `state_dict()` and an optimizer's groups hand out.

And what is done to them in vain: a loop's variable that is bound anew, a dictionary's entry that nobody loads.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.file import SourceFile
from torchdx.source.index import Binding, Scope, last_word
from torchdx.source.reading import words
from torchdx.source.tensors import is_tensor
from torchdx.source.values import Either, Instance, Item, Method, Result, Value
from torchdx.source.walks import walk

if TYPE_CHECKING:
    from torchdx.source.program import Program

_ONE_BY_ONE = words("parameters buffers")
_NAMED = words("named_parameters named_buffers")
_PASSES_ON = words("clone detach to cpu cuda float double half")
_PUTS = words("append appendleft insert add put extend")


@walk(False)
def is_weight(value: Value) -> bool:
    """Is it a parameter, a buffer, a copy of one, or its `data` or `grad`?"""
    if isinstance(value, Either):
        return all(is_weight(choice) for choice in value.choices)
    if isinstance(value, Method):
        if isinstance(value.receiver, Instance):
            return value.receiver.dotted.startswith("torch.nn.") and value.method in ("weight", "bias")
        return value.method in ("data", "grad") and is_weight(value.receiver)
    if isinstance(value, Item):
        return _is_handed_out(value) or is_tensor(value)
    if isinstance(value, Result):
        word = value.dotted.rpartition(".")[2]
        in_place = word[-1:] == "_" and word[-2:] != "__" and value.dotted.startswith(("?.", "torch.Tensor."))
        return in_place or (word in _PASSES_ON and is_weight(value.input)) or is_tensor(value)
    return is_tensor(value)


def _is_handed_out(value: Item) -> bool:
    """Is it an element of what a module, its dictionary or an optimizer's group holds?"""
    of, key = value.of, value.key
    if isinstance(of, Result):
        word = of.dotted.rpartition(".")[2]
        return (
            (key is None and word in _ONE_BY_ONE)
            or (key is not None and word == "state_dict")
            or (key is None and word == "values" and _is_state(of.given))
        )
    if isinstance(of, Item) and key == 1 and of.key is None and isinstance(of.of, Result):
        word = of.of.dotted.rpartition(".")[2]
        return word in _NAMED or (word == "items" and _is_state(of.of.given))
    group = of.of if isinstance(of, Item) and of.key == "params" and key is None else None
    groups = group.of if isinstance(group, Item) else None
    return isinstance(groups, Method) and groups.method == "param_groups"


def _is_state(value: Value | None) -> bool:
    return isinstance(value, Result) and value.dotted.rpartition(".")[2] == "state_dict"


def reads_weights(program: Program, file: SourceFile, node: ast.expr) -> bool:
    """Is it computed of weights, or of what has a gradient?"""
    parts = [one for one in ast.walk(node) if isinstance(one, (ast.Name, ast.Attribute))]
    stepped = any(isinstance(one, ast.Attribute) and one.attr == "grad" for one in parts)
    return stepped or any(is_weight(program.evaluate(file, one)) for one in parts)


# --- done in vain


def rebound(file: SourceFile) -> Iterator[tuple[ast.Assign, ast.Name]]:
    """Assignments, in a `for` loop, to its own variable that is not read again before the next round binds it.

    So to a name that each round gives an entry of a dictionary first: `m = mean[k]`, `m = 0.9 * m + 0.1 * p`.
    """
    for loop in file.index.loops:
        target = getattr(loop, "target", None)  # a `while` has none
        own = {node.id for node in ast.walk(target) if isinstance(node, ast.Name)} if target is not None else set()
        own |= _entries(loop) if own else set()
        for node in _statements(loop) if own else ():
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                name = node.targets[0]
                first = isinstance(node.value, ast.Subscript) and name.id not in {n.id for n in _names(node.value)}
                direct = not first and next(file.loops_around(node), None) is loop
                if name.id in own and direct and not _is_read(file, loop, node):
                    yield node, name


def _entries(loop: ast.AST) -> set[str]:
    """Names that each round begins by giving an entry of something: `m = mean[k]`."""
    begun = (n for n in getattr(loop, "body", ()) if isinstance(n, ast.Assign) and isinstance(n.value, ast.Subscript))
    return {target.id for node in begun for target in node.targets if isinstance(target, ast.Name)}


def _names(node: ast.AST) -> list[ast.Name]:
    return [one for one in ast.walk(node) if isinstance(one, ast.Name)]


def _statements(loop: ast.AST) -> Iterator[ast.AST]:
    for statement in getattr(loop, "body", ()):
        yield from ast.walk(statement)


def _is_read(file: SourceFile, loop: ast.AST, node: ast.Assign) -> bool:
    """Is the variable read after the assignment, or by a function inside, or after the loop as it was left?"""
    assert isinstance(node.targets[0], ast.Name)
    name, scope = node.targets[0].id, file.scope_of(node)
    end = _end(node)
    if name in scope.foreign:
        return True
    uses = [n for n in ast.walk(file.tree) if isinstance(n, ast.Name) and n.id == name]
    again = min((_start(n) for n in uses if _binds(n) and _start(n) > _end(loop)), default=(1 << 30, 0))
    for use in uses:
        if isinstance(use.ctx, ast.Load):
            own = file.scope_of(use)
            if own is not scope and name not in own.bindings and _sees(own, scope):
                return True
            if own is scope and end < _start(use) < again:
                return True
    return False


def kept_by_a_name_alone(file: SourceFile) -> Iterator[tuple[ast.Assign, ast.Name]]:
    """Assignments of new weights, in a function, to a name that came from outside and is not read any more.

    `def follow(target, net): target = copy.deepcopy(net)` changes what the name means there, and nothing else.
    """
    outside = file.module_scope.bindings
    for scope in file.index.scopes.values():
        arguments = getattr(scope.node, "args", None) if scope.is_function else None
        if arguments is None or isinstance(scope.node, ast.Lambda):
            continue
        given = {one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        for node in _statements(scope.node):
            name = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
            if not isinstance(node, ast.Assign) or not isinstance(name, ast.Name) or file.scope_of(node) is not scope:
                continue
            known = name.id in given or name.id in outside
            if known and name.id not in scope.foreign and _makes_weights(file, node.value) and _is_last(file, node):
                yield node, name


def copies_of_itself(program: Program) -> Iterator[tuple[SourceFile, ast.Assign]]:
    """Names that are bound, every so many rounds, to a copy of what they stand for, and to nothing else there.

    None that is kept anywhere: there, a copy is what later changes are kept from.
    """
    for call in program.calls("copy.deepcopy"):
        file, around = call.file, call.file.enclosing(call.node, ast.If)
        if not isinstance(around, ast.If) or len(around.body) != 1 or around.orelse or not call.node.args:
            continue
        lost, name = around.body[0], file.text_of(call.node.args[0])
        if not isinstance(lost, ast.Assign) or lost.value is not call.node or file.text_of(lost.targets[0]) != name:
            continue
        counts = any(isinstance(one, ast.Mod) for one in ast.walk(around.test))
        scope = file.enclosing(lost, ast.FunctionDef, ast.AsyncFunctionDef) or file.tree
        if counts and scope is not None and file.enclosing(lost, ast.For, ast.While) and not _is_kept(scope, name):
            yield file, lost


def _is_kept(scope: ast.AST, name: str) -> bool:
    """Is it put into a collection, or given another name?"""
    for node in ast.walk(scope):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in _PUTS and any(ast.unparse(one) == name for one in node.args):
                return True
        elif isinstance(node, ast.Assign | ast.Return) and node.value is not None and ast.unparse(node.value) == name:
            return True
    return False


def _makes_weights(file: SourceFile, node: ast.expr) -> bool:
    """Is it a copy of a model, a dictionary made of another's tensors, or a step along a gradient?"""
    if isinstance(node, ast.DictComp):
        return file.text_of(node.generators[0].iter).endswith(".items()") or b"state_dict" in file.bytes
    if isinstance(node, ast.BinOp):
        return any(isinstance(n, ast.Attribute) and n.attr == "grad" for n in ast.walk(node))
    return isinstance(node, ast.Call) and last_word(node) in ("deepcopy", "state_dict")


def _is_last(file: SourceFile, node: ast.Assign) -> bool:
    """Is the name read neither after it, nor in the next round of a loop, nor by a function inside?"""
    assert isinstance(node.targets[0], ast.Name)
    name, scope = node.targets[0].id, file.scope_of(node)
    around, own = list(file.loops_around(node)), set(_names(node.value))
    for use in _names(scope.node):
        if use.id == name and isinstance(use.ctx, ast.Load) and use not in own:
            again = any(_start(loop) <= _start(use) < _end(loop) for loop in around)
            if file.scope_of(use) is not scope or _start(use) > _end(node) or again:
                return False
    return True


def _binds(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _sees(inner: Scope, outer: Scope) -> bool:
    above: Scope | None = inner
    while above is not None and above is not outer:
        above = above.parent
    return above is outer


def _start(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def _end(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "end_lineno", 0) or 0, getattr(node, "end_col_offset", 0) or 0


def entries_lost(file: SourceFile) -> Iterator[ast.Assign]:
    """Assignments to an entry of a module's `state_dict()` that is not loaded, handed on or kept afterwards."""
    for scope in file.index.scopes.values():
        for binding in file.index.items_in.get(scope.node, ()):
            node = file.statement(binding.node)
            entry = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
            if not isinstance(node, ast.Assign) or not isinstance(entry, ast.Subscript):
                continue
            of = entry.value
            if _makes_state(of) or (isinstance(of, ast.Name) and _only_filled(file, scope, of.id)):
                yield node


def updates_lost(file: SourceFile) -> Iterator[ast.Expr]:
    """Statements that are nothing but `model.state_dict().update(...)`, which changes a dictionary without a name."""
    if b"state_dict()." not in file.bytes or b"def state_dict" in file.bytes:  # its own may be the thing itself
        return
    for node in ast.walk(file.tree):
        call = node.value if isinstance(node, ast.Expr) else None
        changed = call.func if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else None
        method = changed is not None and changed.attr in ("update", "setdefault")
        if isinstance(node, ast.Expr) and changed is not None and method and _makes_state(changed.value):
            yield node


def _makes_state(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Call) and last_word(node) == "state_dict" and not node.args and not node.keywords


def _only_filled(file: SourceFile, scope: Scope, name: str) -> bool:
    """Is the name a module's dictionary, and nothing done with it but to read and to replace its entries?"""
    bindings = scope.bindings.get(name, ())
    if name in scope.foreign or len(bindings) != 1 or bindings[0].how != "assign":
        return False
    if not scope.is_function or not _makes_state(_part(bindings[0])):
        return False  # elsewhere a function, or another file, may use it
    uses = [n for n in ast.walk(scope.node) if isinstance(n, ast.Name) and n.id == name and not _binds(n)]
    return all(_is_for_filling(file, use) for use in uses)


def _part(binding: Binding) -> ast.expr | None:
    """What a name is given, be it one of several in one assignment."""
    value = binding.value
    for place in binding.steps:
        if not isinstance(value, ast.Tuple) or place >= len(value.elts):
            return None
        value = value.elts[place]
    return value


def _is_for_filling(file: SourceFile, use: ast.Name) -> bool:
    """Does it stand in an assignment to an entry, or does a loop take from it the keys of entries to replace?"""
    statement = file.statement(use)
    if isinstance(statement, ast.Assign):
        return _replaces(statement, use.id)
    if isinstance(statement, (ast.For, ast.AsyncFor)) and any(node is use for node in ast.walk(statement.iter)):
        return any(_replaces(node, use.id) for node in _statements(statement))
    return False


def _replaces(node: ast.AST, name: str) -> bool:
    """Is all that it does to put something else at an entry of this dictionary?"""
    entry = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
    return isinstance(entry, ast.Subscript) and isinstance(entry.value, ast.Name) and entry.value.id == name
