"""Noise or a mask is put into the clean data in place: what goes in and what is wanted are one and the same tensor.

Seen as a denoiser whose loss falls at once, or to nothing, and that changes nothing in a picture; as data that get
worse from epoch to epoch. Found in the source: two names for one tensor, as an operation in place gives back the tensor
itself (`noisy = clean.add_(noise)`), or as the second is assigned from the first, and then changed; and both are used
afterwards, as if they were two.

Hurts because the model is asked for its own input: the identity has no error, and there is no noise left to be told.
Where the clean tensor is a part of the data itself, the noise stays there, and more is added in each epoch.

Helped by a tensor of its own: `noisy = clean + noise`, `clean.clone().add_(noise)`.

No fault when the first name is not used any more, or a copy was made.

Sources: PyTorch documentation, "In-place operations"; P. Vincent et al., "Extracting and composing robust features with
denoising autoencoders" (2008).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.source.aliases import aliases_of
from torchdx.source.definitions import UserFunction
from torchdx.source.expressions import Call
from torchdx.source.flow import path_of, reaching
from torchdx.source.index import last_word
from torchdx.source.reading import words

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile
    from torchdx.source.index import Binding

code, family, severity = "TDX525", "data", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        "not-learning",
        "overfitting",
        "validation-gap",
        "train-eval-gap",
        "evaluated-on-other-scale",
        "vanishing-gradient",
        "unscaled-input",
        "future-leak",
    }
)

CHANGES = words(
    "add_ sub_ mul_ div_ masked_fill_ normal_ bernoulli_ addcmul_ index_fill_ scatter_ masked_scatter_ lerp_ copy_"
)
RANDOM = words(
    "randn randn_like rand rand_like normal normal_ bernoulli bernoulli_ randint randint_like randperm uniform_ "
    "dropout exponential_ poisson standard_normal uniform random"
)
CUTS = words("split chunk unbind tensor_split")
"""Calls that give parts of a tensor, and no copies."""
CONCERNED = re.compile(rb"\b(rand|normal|bernoulli|dropout|poisson|uniform)")
TOLD = words("print info debug write imshow plot save hist")
"""Calls that only show what they are given."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every tensor with two names that is changed at random under one of them, and used under both."""
    files = [file for file in program.torch_files if CONCERNED.search(file.bytes)]
    own = {getattr(node, "name", "") for file in files for node in file.index.functions}
    for file in files:
        for scope in file.index.scopes.values():
            for name, bindings in list(scope.bindings.items()):
                for binding in bindings:
                    node = binding.node
                    if binding.how != "assign" or binding.steps or not isinstance(node, ast.Assign):
                        continue
                    first, change = _same(program, file, node, own)
                    if not first or first == name or change is None:
                        continue
                    if _both_used(file, node, change, first, name) or _comes_again(file, first, change):
                        yield _finding(file, change, first, name)


def _finding(file: SourceFile, change: ast.AST, first: str, name: str) -> Finding:
    return Finding(
        message=f"`{name}` and `{first}` are one tensor: what is put into `{name}` is in `{first}`, too, which is used "
        "afterwards, or in the next epoch, as if it were not",
        site=file.site(change),
        evidence={"changed in place": file.text_of(change)},
        cure=f"make a tensor of its own: `{name} = {first} + ...`, or `{first}.clone()` first",
        confidence=0.95,
    )


def _same(program: Program, file: SourceFile, node: ast.Assign, own: set[str]) -> tuple[str, ast.stmt | None]:
    """The name whose tensor this assignment gives a second name, and the statement that changes it at random."""
    value = node.value
    if isinstance(value, ast.Name):
        targets = {value.id, *(one.id for one in node.targets if isinstance(one, ast.Name))}
        return value.id, _changed_later(file, node, targets)
    if not isinstance(value, ast.Call):
        return "", None
    inner, changed = value, False
    while isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and inner.func.attr in CHANGES:
        changed |= _is_random(file, inner)
        inner = inner.func.value  # type: ignore[assignment]
    if isinstance(inner, ast.Name):
        return inner.id, node if changed else None
    if value.args and isinstance(value.args[0], ast.Name) and inner is value and last_word(value) in own:
        functions = program.effects.targets(Call(program, file, value))
        if len(functions) == 1 and _changes_its_own(functions[0]):
            return value.args[0].id, node
    return "", None


def _changed_later(file: SourceFile, node: ast.Assign, names: set[str]) -> ast.stmt | None:
    """The first statement after it, in the same block, that changes the tensor of these names at random."""
    for one in _after(file, node):
        if isinstance(one, ast.Assign) and any(isinstance(t, ast.Name) and t.id in names for t in one.targets):
            return None
        if _changes(file, one, names):
            return one
    return None


def _changes(file: SourceFile, node: ast.stmt, names: set[str]) -> bool:
    """Does a statement change a tensor of these names in place, at random places or by random numbers?"""
    if isinstance(node, ast.AugAssign):
        target = node.target.value if isinstance(node.target, ast.Subscript) else node.target
        return isinstance(target, ast.Name) and target.id in names and _is_random(file, node)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        target = node.targets[0].value
        return isinstance(target, ast.Name) and target.id in names and _is_random(file, node)
    call = node.value if isinstance(node, ast.Expr) else None
    while isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in CHANGES:
        if isinstance(call.func.value, ast.Name):
            return call.func.value.id in names and _is_random(file, node)
        call = call.func.value
    return False


def _changes_its_own(function: UserFunction) -> bool:
    """Does a function change its first argument at random, and give it back?"""
    file, node = function.file, function.node
    name = next((one for one in function.parameters if one != function.self_name), "")
    bindings = file.index.scopes[node].bindings.get(name, [])
    if not name or any(binding.how not in ("parameter", "augment") for binding in bindings):
        return False
    inside, names = [one for one in ast.walk(node) if isinstance(one, ast.stmt)], aliases_of(function, name)
    back = {_receiver(value) for value in function.returns}
    ends = [one for one in function.returns if isinstance(one, ast.Call)]
    changed = any(map(partial(_is_random, file), ends)) or any(_changes(file, one, names) for one in inside)
    return bool(back) and back <= names and changed


def _receiver(node: ast.expr) -> str:
    """The name of the tensor that an expression gives: its own, or that of what is changed in place."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        node = node.func.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_random(file: SourceFile, node: ast.AST, depth: int = 0) -> bool:
    """Are random numbers drawn in it, or in what its names were assigned?"""
    for one in ast.walk(node):
        if isinstance(one, ast.Call) and last_word(one) in RANDOM:
            return True
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and depth < 3:
            scope = file.scope_of(one)
            for binding in reaching(file, scope.bindings.get(one.id, []), one, scope.node):
                value = binding.value if binding.how == "assign" and not binding.steps else None
                if isinstance(value, (ast.Call, ast.BinOp, ast.Compare)) and _is_random(file, value, depth + 1):
                    return True
    return False


def _after(file: SourceFile, node: ast.stmt) -> list[ast.stmt]:
    """The statements behind it in its block."""
    path = path_of(file, node, file.scope_of(node).node)
    if not path:
        return []
    owner, block, place = path[-1]
    return list(getattr(owner, block)[place + 1 :])


def _both_used(file: SourceFile, node: ast.Assign, change: ast.stmt, first: str, name: str) -> bool:
    """Are both names handed on together after the change, before either is given something else?"""
    used: set[str] = set()
    for one in _after(file, change):
        if one is node:
            continue
        call = one.value if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call) else None
        if call is not None and last_word(call) in TOLD:
            continue
        loaded = {n.id for n in ast.walk(one) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        used |= loaded & {first, name}
        if {first, name} <= loaded or (len(used) == 2 and first in loaded and _compares(one, first)):
            return True
        if any(
            isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.id in (first, name) for n in ast.walk(one)
        ):
            return False
    return False


def _comes_again(file: SourceFile, name: str, use: ast.AST) -> bool:
    """Is it a part of data, no copy of it, that is gone through again and again?"""
    scope = file.scope_of(use)
    for binding in reaching(file, scope.bindings.get(name, []), use, scope.node):
        whole = _whole_of(file, binding, use)
        loops = [*file.loops_around(binding.node), *([binding.node] if isinstance(binding.node, ast.For) else [])]
        if whole is None or not loops:
            return False
        rounds = {loop for loop in file.loops_around(use) if loop in loops}
        made = reaching(file, scope.bindings.get(whole, []), use, scope.node)
        fresh = [one for one in made if rounds & set(file.loops_around(one.node)) and not _comes_of(one.value, whole)]
        given = any(one.how == "parameter" for one in made) and _is_repeated(file, scope.node)
        if not made or fresh or not (len(rounds) > 1 or given):
            return False
    return name in scope.bindings


def _whole_of(file: SourceFile, binding: Binding, use: ast.AST) -> str | None:
    """The name of the data of which this binding takes a part without a copy of it."""
    value: ast.expr | None = binding.value
    if binding.how == "assign" and isinstance(value, ast.Subscript) and not binding.steps:
        first = value.slice.elts[0] if isinstance(value.slice, ast.Tuple) and value.slice.elts else value.slice
        return value.value.id if isinstance(first, ast.Slice) and isinstance(value.value, ast.Name) else None
    if binding.how != "element" or not isinstance(binding.node, ast.For):
        return None
    steps = [*binding.steps]
    value = binding.node.iter
    while isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in ("enumerate", "zip"):
        if not steps or (value.func.id == "enumerate" and steps[0] != 1):
            return None
        value = value.args[0 if value.func.id == "enumerate" else steps[0]]
        steps = steps[1:]
    if isinstance(value, ast.Name):  # parts that were cut before
        cut = reaching(file, file.scope_of(use).bindings.get(value.id, []), use, file.scope_of(use).node)
        value = cut[0].value if len(cut) == 1 and cut[0].how == "assign" and not cut[0].steps else None
    if steps or not isinstance(value, ast.Call) or last_word(value) not in CUTS:
        return None
    taken = value.func.value if isinstance(value.func, ast.Attribute) else None
    if value.args and isinstance(taken, ast.Name) and taken.id == "torch":
        taken = value.args[0]
    return taken.id if isinstance(taken, ast.Name) else None


def _comes_of(value: ast.expr | None, name: str) -> bool:
    return value is not None and any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(value))


def _is_repeated(file: SourceFile, function: ast.AST) -> bool:
    """Is a function called in a loop?"""
    calls = file.index.calls.get(getattr(function, "name", ""), [])
    return any(True for call in calls for _ in file.loops_around(call))


def _compares(node: ast.stmt, name: str) -> bool:
    """Is it taken from something, or handed to a call with something else, as to a loss?"""
    for one in ast.walk(node):
        sides = [one.left, one.right] if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub) else []
        if isinstance(one, ast.Call) and len(one.args) + len(one.keywords) > 1:
            sides = [*one.args, *(keyword.value for keyword in one.keywords)]
        if any(isinstance(side, ast.Name) and side.id == name for side in sides):
            return True
    return False


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    pictures = torch.tensor(load_digits().data / 16, dtype=torch.float32) - 0.3
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(3):
        for rows in torch.randperm(len(pictures)).split(64):
            clean = pictures[rows]
            noisy = clean.add_(0.3 * torch.randn_like(clean))  # TDX525
            loss = nn.functional.mse_loss(model(noisy), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    pictures = torch.tensor(load_digits().data / 16, dtype=torch.float32) - 0.3
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(3):
        for rows in torch.randperm(len(pictures)).split(64):
            clean = pictures[rows]
            noisy = clean.clone().add_(0.3 * torch.randn_like(clean))
            loss = nn.functional.mse_loss(model(noisy), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
