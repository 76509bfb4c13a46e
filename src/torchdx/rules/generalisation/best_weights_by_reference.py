"""The best weights are kept by reference, so they go on changing with the model and end as the last ones.

Seen as a "best" model that scores no better than the last; nothing is reported, since the weights load without error.

Hurts because `state_dict()` copies no number: each entry is the parameter's own storage, which the optimizer changes in
place. `best = model.state_dict()`, or `best = model`, is a second name for the weights of now, not a picture of them.

Helped by `copy.deepcopy(model.state_dict())`, by cloning each entry, or by saving to disk at once.

No fault when training ends right there, the entries are copied, or the model goes to the CPU and back meanwhile.

Sources: PyTorch tutorial, "Saving and Loading Models" ("best_model_state = model.state_dict() returns a reference to
the state and not its copy!"); PyTorch documentation, `torch.nn.Module.state_dict`.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Edit, Finding, Fix
from torchdx.source import edits
from torchdx.source.flow import path_of, reaching
from torchdx.source.index import FUNCTIONS, last_word
from torchdx.source.phases import goes_on_after
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program, SourceFile
    from torchdx.source.index import Binding, LoopNode, Scope

code, family, severity = "TDX804", "generalisation", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"overfitting", "validation-gap"})

BEST = re.compile(rb"best\w*\s*=[^=]", re.IGNORECASE)
NOT_A_MODEL = re.compile(r"optim|sched|scaler|loader|sampler", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept for later: the model, as named, the expression, and the name, or key of a dictionary, for it."""

    file: SourceFile
    statement: ast.Assign | ast.Expr
    value: ast.expr
    model: ast.expr
    target: ast.expr
    key: str = ""


def in_source(program: Program) -> Iterator[Finding]:
    """Everything kept by reference in a loop that trains on, and used when the loop is over."""
    for kept in _everything_kept(program):
        used = _use_later(program, kept)
        if used is not None and not _has_own_state(program, kept):
            what = kept.file.text_of(kept.value)
            where = kept.file.site(used).seen_from(kept.file.path)
            yield Finding(
                message=f"`{what}` is no copy: training goes on changing it, and {where} gets the last weights "
                "instead of the best",
                site=kept.file.site(kept.value),
                evidence={"used_at": str(kept.file.site(used))},
                cure=f"keep a copy: `copy.deepcopy({what})`",
                confidence=0.95,
            )


def in_run(record: Record) -> Iterator[Finding]:
    """Every model that is given, as weights taken some steps ago, the very weights it has."""
    told = set()
    for load in record.loads:
        place = load.taken_site or load.site
        back = load.gives_back and load.changed and load.taken is not None and load.taken < load.step
        if back and place not in told:
            told.add(place)
            yield Finding(
                message=f"the weights taken at step {load.taken} are no copy: training has changed them since, and at "
                f"step {load.step} `load_state_dict` gave {load.cls} the weights that it had anyway",
                site=place,
                evidence={"taken at step": load.taken, "loaded at step": load.step, "parameters": load.own},
                cure="keep a copy: `copy.deepcopy(model.state_dict())`",
                confidence=0.97,
            )


def _everything_kept(program: Program) -> Iterator[Kept]:
    for call in program.calls_named("state_dict"):
        file, receiver = call.file, call.receiver
        if receiver is None or not _is_plain(receiver.node) or NOT_A_MODEL.search(receiver.text):
            continue
        if call.node.args or call.node.keywords:
            continue
        for statement, target, key in _places_of(file, call.node):
            yield Kept(file, statement, call.node, receiver.node, target, key)
    for file in program.torch_files:
        if BEST.search(file.bytes) and b"backward" in file.bytes:
            yield from _models_kept(program, file)


def _places_of(file: SourceFile, value: ast.expr) -> Iterator[tuple[ast.Assign | ast.Expr, ast.expr, str]]:
    """Where a value is put: `x = value`, `x["key"] = value`, `x = {"key": value}`, `x.update(key=value)`."""
    above, key = file.index.parents.get(value), ""
    if isinstance(above, ast.Dict):
        named = next((k for k, v in zip(above.keys, above.values, strict=True) if v is value), None)
        key = named.value if isinstance(named, ast.Constant) and isinstance(named.value, str) else ""
    elif isinstance(above, ast.keyword):
        key = above.arg or ""
    if key and above is not None:
        above = file.parent(above)
    if isinstance(above, ast.Call) and key:
        func = above.func
        outer = file.parent(above)
        if isinstance(func, ast.Attribute) and func.attr == "update" and isinstance(outer, ast.Expr):
            yield outer, func.value, key
        above = outer if isinstance(func, ast.Name) and func.id == "dict" else None
    if not isinstance(above, ast.Assign) or len(above.targets) != 1:
        return
    target = above.targets[0]
    part = target.slice if isinstance(target, ast.Subscript) else None
    if isinstance(target, ast.Subscript) and not key and isinstance(part, ast.Constant) and isinstance(part.value, str):
        target, key = target.value, part.value
    yield above, target, key


def _has_own_state(program: Program, kept: Kept) -> bool:
    """Is it no module, or one that says itself what its state is?"""
    values = program.evaluate(kept.file, kept.model).alternatives()
    known = [value for value in values if isinstance(value, Instance)]
    own = [value for value in known if value.definition is not None and value.definition.method("state_dict")]
    return bool(own) or any(not value.is_module for value in known)


def _models_kept(program: Program, file: SourceFile) -> Iterator[Kept]:
    """`best = model`, the model being known as one."""
    bound = [b for scope in file.index.scopes.values() for name in scope.bindings for b in _of_best(scope, name)]
    for binding in bound:
        node, value = binding.node, binding.value
        if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(value, ast.Name):
            continue
        found = program.evaluate(file, value).alternatives()
        if (
            binding.how == "assign"
            and not binding.steps
            and all(isinstance(v, Instance) and v.is_module for v in found)
        ):
            yield Kept(file, node, value, value, node.targets[0])


def _of_best(scope: Scope, name: str) -> list[Binding]:
    return scope.bindings[name] if "best" in name.lower() else []


def _is_plain(node: ast.expr) -> bool:
    """A name, or attributes of one?"""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_plain(node.value))


def _use_later(program: Program, kept: Kept) -> ast.expr | None:
    """Where, after a loop that trains on with the condition unmet, what was kept is taken for the best."""
    file, statement = kept.file, kept.statement
    if isinstance(kept.target, ast.Name):
        for loop in file.loops_around(statement):
            if _is_conditional(file, statement, loop) and _trains_on(program, kept, loop):
                return next((node for node in _uses_after(kept, kept.target, loop)), None)
    if isinstance(kept.target, ast.Attribute) and isinstance(kept.value, ast.Call):
        return _reloaded(program, kept, kept.target)
    return None


def _is_conditional(file: SourceFile, statement: ast.stmt, loop: LoopNode) -> bool:
    """Is it done in some rounds only, with the loop going on afterwards?"""
    around = file.ancestors(statement)
    inside = itertools.takewhile(lambda above: above is not loop, around)
    return any(isinstance(above, ast.If) for above in inside) and goes_on_after(file, statement, loop)


def _trains_on(program: Program, kept: Kept, loop: LoopNode) -> bool:
    """Do rounds of the loop change the weights of a model that is the same one in all of them?"""
    file = kept.file
    scope = file.scope_of(loop)
    model = file.text_of(kept.model)
    root = model.partition(".")[0]
    if any(_stands_in(binding.node, loop) for binding in scope.bindings.get(root, ())):
        return False
    attribute = model.rpartition(".")[2] if "." in model else ""
    if any(b.name == attribute and _stands_in(b.node, loop) for b in file.index.attributes_in.get(scope.node, ())):
        return False
    for call in file.index.calls_in.get(scope.node, ()):
        moved = isinstance(call.func, ast.Attribute) and call.func.attr in ("cpu", "to") and _stands_in(call, loop)
        if moved and file.text_of(call.func).rpartition(".")[0] == model:
            return False
    events = tuple(program.effects.within(file, scope.node, loop))
    does = {event.effect for event in events}
    return "backward" in does and "step" in does


def _stands_in(node: ast.AST, loop: ast.AST) -> bool:
    line = getattr(node, "lineno", 0) or getattr(getattr(node, "context_expr", None), "lineno", 0)
    return getattr(loop, "lineno", 0) < line <= (getattr(loop, "end_lineno", 0) or 0)


def _uses_after(kept: Kept, target: ast.Name, loop: LoopNode) -> Iterator[ast.expr]:
    """Uses of the name, behind the loop, that see what was kept: loaded, saved, returned, or called as a model."""
    file = kept.file
    scope = file.scope_of(kept.statement)
    bindings = scope.bindings.get(target.id, [])
    own = next((binding for binding in bindings if binding.node is kept.statement), None)
    if own is None and (not bindings or any(getattr(b.node, "lineno", 0) >= loop.lineno for b in bindings)):
        return  # a dictionary that is added to must be the same one in all rounds
    calls = [call for call in file.index.calls_in.get(scope.node, ()) if call.lineno > (loop.end_lineno or 0)]
    given = [a for c in calls if last_word(c) in ("load_state_dict", "save") for a in c.args[:1]]
    given += [part for value in file.index.returns.get(scope.node, ()) for part in _parts(value)]
    if kept.key:
        whole = given if "best" in target.id.lower() else []
        given = [*whole, *(node.value for node in given if isinstance(node, ast.Subscript) and _is_it(kept, node))]
    else:
        given += [call.func for call in calls if not isinstance(kept.value, ast.Call)]
        given += [call.func.value for call in calls if isinstance(call.func, ast.Attribute)]
    for node in given:
        is_it = isinstance(node, ast.Name) and node.id == target.id
        after = node.lineno > (loop.end_lineno or 0)
        if after and is_it and (own is None or own in reaching(file, bindings, node, scope.node)):
            yield node


def _is_it(kept: Kept, node: ast.expr) -> bool:
    """Is it what was kept, by the same name and key?"""
    if kept.key:
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Constant):
            return False
        return node.slice.value == kept.key and kept.file.text_of(node.value) == kept.file.text_of(kept.target)
    return kept.file.text_of(node) == kept.file.text_of(kept.target)


def _parts(value: ast.expr) -> list[ast.expr]:
    return list(value.elts) if isinstance(value, (ast.Tuple, ast.List)) else [value]


def _reloaded(program: Program, kept: Kept, target: ast.Attribute) -> ast.expr | None:
    """Where an object gives the model back the weights that it kept when they were best."""
    file = kept.file
    method, model = file.enclosing(kept.statement, *FUNCTIONS), file.text_of(kept.model)
    cls = file.enclosing(kept.statement, ast.ClassDef)
    if "best" not in f"{target.attr} {kept.key}".lower() or method is None or cls is None:
        return None
    for node in file.index.calls.get("load_state_dict", ()):
        loaded = isinstance(node.func, ast.Attribute) and file.text_of(node.func.value) == model
        if loaded and node.args and _is_it(kept, node.args[0]) and file.enclosing(node, ast.ClassDef) is cls:
            one, other = path_of(file, kept.statement, method), path_of(file, node, method)
            last = len(one) - 1
            at_once = other[:last] == one[:last] and len(other) > last and other[last][:2] == one[last][:2]
            if file.enclosing(node, *FUNCTIONS) is not method or not at_once:
                return node
    return None


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Keep a copy."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call, ast.Name) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.expr):
        return
    copied, change = _copy_of(file, node)
    found = edits.fix("keep a copy", file, [*change, edits.replace(file, node, copied)], safe=True)
    if found is not None:
        yield found


def _copy_of(file: SourceFile, node: ast.expr) -> tuple[str, list[Edit]]:
    """What copies an expression, and the edit that brings the import that takes."""
    text, names = file.text_of(node), file.module_scope.bindings
    known = {binding.origin: name for name, found in names.items() for binding in found if binding.how == "import"}
    home = _first_statement(file)
    if "copy.deepcopy" in known:
        return f"{known['copy.deepcopy']}({text})", []
    if "copy" in known:
        return f"{known['copy']}.deepcopy({text})", []
    if "copy" in names or home is None:
        return f"__import__('copy').deepcopy({text})", []
    return f"copy.deepcopy({text})", [edits.insert_before(file, home, "import copy")]


def _first_statement(file: SourceFile) -> ast.stmt | None:
    """The first statement that an import may stand before."""
    for statement in file.tree.body:
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text and not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            return statement
    return None


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    best, weights = 0.0, {}
    for _ in range(10):
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            score = (model(inputs[validation]).argmax(1) == labels[validation]).float().mean().item()
        if score > best:
            best = score
            weights = model.state_dict()  # TDX804
    model.load_state_dict(weights)
    print(f"{best:.3f}")


def healthy() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    best, weights = 0.0, {}
    for _ in range(10):
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            score = (model(inputs[validation]).argmax(1) == labels[validation]).float().mean().item()
        if score > best:
            best = score
            weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    print(f"{best:.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    least, weights, best_model = float("inf"), {}, nn.Sequential()
    for rate in (0.001, 0.003):
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))  # a new one for each rate
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(5):
            for rows in torch.randperm(len(inputs)).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        if loss.item() < least:
            least, best_model = loss.item(), model
            weights = model.state_dict()
    model.load_state_dict(weights)
    print(f"{least:.3f} {best_model(inputs[:1]).argmax().item()}")
