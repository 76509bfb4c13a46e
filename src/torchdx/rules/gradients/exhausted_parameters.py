"""Parameters kept as a generator are used twice, and the second use gets none.

Seen as `ValueError: optimizer got an empty parameter list`, or, with no error at all, as gradients that are never
clipped, a penalty that is always 0, or layers that stay trainable though a loop should have frozen them.

Hurts because `model.parameters()` is no list but a generator, as are `filter`, `map`, `chain` and `(p for p in ...)`:
whoever goes through it first empties it, and every later use goes through nothing.

Helped by keeping a list, `parameters = list(model.parameters())`, or by asking the model anew each time.

No fault when it is used once, when the uses stand in branches of which only one is taken, or when it is made anew in
each round.

Sources: PyTorch documentation, `torch.nn.Module.parameters` ("returns an iterator"); Python glossary, "generator
iterator".
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.flow import is_passed_before, out_of_with, path_of, reaching
from torchdx.source.reading import words
from torchdx.source.values import Result

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile, UserClass
    from torchdx.source.index import LoopNode

code, family, severity = "TDX213", "gradients", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "exploding-gradient", "clipping-out-of-place"})

MADE_BY = words("parameters named_parameters")
WRAPPED_BY = words("filter map itertools.chain zip enumerate")
EMPTIED_BY = words(
    "list tuple set sorted sum any all min max dict "
    "torch.nn.utils.clip_grad_norm_ torch.nn.utils.clip_grad_norm torch.nn.utils.clip_grad_value_ "
    "torch.nn.utils.parameters_to_vector torch.nn.utils.get_total_norm"
)
OPTIMIZERS = words("Adam AdamW SGD RMSprop Adagrad Adadelta RAdam NAdam Adamax Lamb LAMB Lion Adafactor AdaBelief")


def in_source(program: Program) -> Iterator[Finding]:
    """Every use of a generator of parameters that comes certainly after another one."""
    for file in program.torch_files:
        for word in MADE_BY:
            for node in file.index.calls.get(word, ()):
                statement = _kept(program, file, node)
                later = _second_use(program, file, statement) if statement is not None else None
                if statement is not None and later is not None:
                    name = file.text_of(statement.targets[0])
                    yield Finding(
                        message=f"`{name}` is a generator, made in line {statement.lineno} and used up before: "
                        "here it holds no parameters any more",
                        site=file.site(later),
                        evidence={"made_at": str(file.site(statement.value))},
                        cure=f"keep a list: `{name} = list({file.text_of(statement.value)[:60]})`",
                        confidence=0.97,
                    )


def _kept(program: Program, file: SourceFile, node: ast.Call) -> ast.Assign | None:
    """The statement that keeps these parameters, as a generator, under a plain name."""
    inner: ast.AST = node
    above = file.parent(inner)
    while isinstance(above, (ast.Call, ast.GeneratorExp, ast.comprehension, ast.Starred)):
        if isinstance(above, ast.Call) and Call(program, file, above).name not in WRAPPED_BY:
            return None
        inner, above = above, file.parent(above)
    if not isinstance(above, ast.Assign) or above.value is not inner or len(above.targets) != 1:
        return None
    value = program.evaluate(file, node)
    made = isinstance(value, Result) and (
        value.dotted.startswith("torch.nn.Module.") or (value.dotted[:2] == "?." and not _has_own(program))
    )
    return above if made and isinstance(above.targets[0], (ast.Name, ast.Attribute)) else None


def _has_own(program: Program) -> bool:
    """Does the project define a `parameters` of its own, which might return a list?"""
    return any(b"def parameters" in file.bytes or b"def named_parameters" in file.bytes for file in program.files)


def _second_use(program: Program, file: SourceFile, statement: ast.Assign) -> ast.expr | None:
    """The first place where what is kept has certainly been used up already."""
    if isinstance(statement.targets[0], ast.Attribute):
        return _use_by_method(program, file, statement)
    scope = file.scope_of(statement).node
    used = [node for node in _uses(file, statement) if _empties(program, file, node) and not _is_optional(file, node)]
    for place, node in enumerate(used):
        if _is_repeated(file, node, statement):
            return node
        if any(is_passed_before(file, earlier, node, scope) for earlier in used[:place]):
            return node
    return None


def _use_by_method(program: Program, file: SourceFile, statement: ast.Assign) -> ast.expr | None:
    """Where a method uses what the constructor kept as an attribute, and has certainly used up itself."""
    scope, kept = file.scope_of(statement).node, statement.targets[0]
    function = program.function(file, scope) if isinstance(scope, ast.FunctionDef) else None
    owner = function.owner if function is not None else None
    if function is None or owner is None or function.name != "__init__" or not isinstance(kept, ast.Attribute):
        return None
    if [binding.node for _, _, binding in owner.attribute(kept.attr)] != [kept] or len(path_of(file, kept, scope)) != 1:
        return None
    used = [node for node in _reads(owner, kept) if _empties(program, file, node) and not _is_optional(file, node)]
    inside = [node for node in used if file.scope_of(node).node is scope and is_passed_before(file, kept, node, scope)]
    for place, node in enumerate(inside):
        if _is_repeated(file, node, statement):
            return node
        if any(is_passed_before(file, earlier, node, scope) for earlier in inside[:place]):
            return node
    surely = any(len(out_of_with(path_of(file, node, scope))) == 1 for node in inside)
    return next((node for node in used if file.scope_of(node).node is not scope), None) if surely else None


def _reads(owner: UserClass, kept: ast.Attribute) -> list[ast.Attribute]:
    """Every place, in order, where a method of the class reads the attribute of its own object."""
    names = {method.node: method.self_name for method in owner.own_methods}
    reads = [
        node
        for method in names
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute)
        and node.attr == kept.attr
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.value, ast.Name)
        and node.value.id == names[method]
    ]
    return sorted(reads, key=lambda node: (node.lineno, node.col_offset))


def _uses(file: SourceFile, statement: ast.Assign) -> list[ast.Name]:
    """Every place, in order, where a name certainly stands for what this statement gives it."""
    target = statement.targets[0]
    scope = file.scope_of(statement)
    assert isinstance(target, ast.Name)
    names = (node for node in ast.walk(scope.node) if isinstance(node, ast.Name) and node.id == target.id)
    loads = [node for node in names if isinstance(node.ctx, ast.Load) and file.scope_of(node) is scope]
    loads.sort(key=lambda node: (node.lineno, node.col_offset))
    bindings = scope.bindings.get(target.id, [])
    return [n for n in loads if [b.node for b in reaching(file, bindings, n, scope.node)] == [statement]]


def _empties(program: Program, file: SourceFile, node: ast.expr) -> bool:
    """Is it gone through to its end here?"""
    above = file.parent(node)
    if isinstance(above, (ast.For, ast.comprehension)):
        return above.iter is node and not (isinstance(above, ast.For) and _leaves_early(above))
    if isinstance(above, ast.keyword):
        above = file.parent(above) if above.arg in ("params", "parameters") else None
    if not isinstance(above, ast.Call) or above.func is node:
        return False
    name = Call(program, file, above).name
    is_first = (bool(above.args) and above.args[0] is node) or any(keyword.value is node for keyword in above.keywords)
    last = name.rpartition(".")[2]
    return is_first and (name in EMPTIED_BY or last in OPTIMIZERS or name.startswith("torch.optim."))


def _is_optional(file: SourceFile, node: ast.AST) -> bool:
    """Does its own statement decide whether it happens?"""
    above = file.parent(node)
    while above is not None and not isinstance(above, ast.stmt):
        if isinstance(above, (ast.IfExp, ast.BoolOp)):
            return True
        above = file.parent(above)
    return False


def _leaves_early(loop: ast.For) -> bool:
    return any(isinstance(node, (ast.Break, ast.Return)) for node in ast.walk(loop))


def _is_repeated(file: SourceFile, node: ast.AST, statement: ast.stmt) -> bool:
    """Is it repeated by a loop that does not make the generator anew?"""
    around = set(file.loops_around(statement))
    return any(loop not in around and not _is_once(loop) for loop in file.loops_around(node))


def _is_once(loop: LoopNode) -> bool:
    """Does its first round end it?"""
    return isinstance(loop.body[-1], (ast.Break, ast.Return, ast.Raise))


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Keep a list."""
    file = program.file(finding.site.path) if finding.site else None
    place = str(finding.evidence.get("made_at", ""))
    if file is None:
        return
    for word in MADE_BY:
        for node in file.index.calls.get(word, ()):
            statement = _kept(program, file, node)
            if statement is None or str(file.site(statement.value)) != place:
                continue
            change = edits.replace(file, statement.value, f"list({file.text_of(statement.value)})")
            uses = _uses(file, statement) if isinstance(statement.targets[0], ast.Name) else []
            safe = bool(uses) and all(_empties(program, file, use) for use in uses)  # `next(...)` takes no list
            found = edits.fix("keep the parameters in a list", file, [change], safe=safe)
            if found is not None:
                yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    weights = model.parameters()
    optimizer = torch.optim.Adam(weights, lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 5.0)  # TDX213
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    weights = list(model.parameters())
    optimizer = torch.optim.Adam(weights, lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import sys

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    trainable = filter(lambda parameter: parameter.requires_grad, model.parameters())
    if len(sys.argv) > 1:
        optimizer: torch.optim.Optimizer = torch.optim.SGD(trainable, lr=0.1)
    else:
        optimizer = torch.optim.Adam(trainable, lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            weights = model.parameters()
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimizer.step()
    print(f"{loss.item():.3f}")
