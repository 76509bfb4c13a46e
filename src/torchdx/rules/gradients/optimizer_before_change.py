"""The optimizer is made before a part of the model is replaced, so the new part is never trained.

Seen as a new last layer whose weights stay as random as they began, or a whole model that does not learn, while the
loss hardly falls.

Hurts because an optimizer holds the parameters that it was given, not the model. A layer put in afterwards brings
parameters of its own: backward() computes their gradients, and `step()` goes on changing the old ones, which nothing
uses any more.

Helped by making the optimizer when the model is complete.

No fault when the optimizer is made anew afterwards, or the new parameters are added by `add_param_group`.

Sources: PyTorch documentation, "torch.optim: constructing it"; PyTorch tutorial, "Finetuning torchvision models".
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.flow import is_passed_before, reaching
from torchdx.source.models import has_parameters
from torchdx.source.optimizers import optimizers
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.source import Call, Program, SourceFile

code, family, severity = "TDX211", "gradients", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "parameter-not-optimised"})


def in_source(program: Program) -> Iterator[Finding]:
    """Every part put into a model, or model put in its place, after the optimizer that goes on stepping."""
    for call in optimizers(program):
        statement, model = call.file.parent(call.node), _model(call)
        if model is None or not isinstance(statement, ast.Assign) or b"add_param_group" in call.file.bytes:
            continue
        for change, target in _changes(call, model):
            stepping = _step_after(program, call, statement, change)
            if stepping is not None:
                text = call.file.text_of(target)
                yield Finding(
                    message=f"`{text}` is made new after the optimizer, which holds the parameters of the old one: "
                    f"`{stepping.text[:40]}` never changes the new ones",
                    site=call.file.site(target),
                    layer=text.partition(".")[2] or None,
                    evidence={"optimizer_at": str(call.site)},
                    cure="make the optimizer after the last change of the model",
                    confidence=0.95,
                )
                break


def _model(call: Call) -> ast.Name | None:
    """The model, where the optimizer is simply given all its parameters."""
    node = call.node.args[0] if call.node.args else None
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("filter", "list"):
        node = node.args[-1] if node.args else None
    func = node.func if isinstance(node, ast.Call) else None
    is_all = isinstance(func, ast.Attribute) and func.attr == "parameters"
    return func.value if is_all and isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) else None


def _changes(call: Call, model: ast.Name) -> Iterator[tuple[ast.stmt, ast.expr]]:
    """The statements, certainly after the optimizer was made, that put something new into the model or in its place."""
    program, file = call.program, call.file
    scope = file.scope_of(model)
    bindings = scope.bindings.get(model.id, [])
    seen = [binding.node for binding in reaching(file, bindings, model, scope.node)]
    found: list[tuple[ast.AST, ast.AST, ast.expr]] = []
    for binding in (*file.index.attributes_in.get(scope.node, ()), *file.index.items_in.get(scope.node, ())):
        base = _base(binding.node)
        if binding.how != "assign" or binding.value is None or base is None or base.id != model.id:
            continue
        if [b.node for b in reaching(file, bindings, base, scope.node)] == seen:
            found.append((binding.node, binding.node, binding.value))
    for binding in bindings:
        targets = binding.node.targets if isinstance(binding.node, ast.Assign) and not binding.steps else []
        if len(targets) == 1 and binding.value is not None and not _mentions(binding.value, model.id):
            found.append((binding.node, targets[0], binding.value))
    for node, target, value in found:
        statement = file.statement(node)
        if statement is None or not isinstance(target, ast.expr) or not _is_new(program, file, value):
            continue
        if is_passed_before(file, call.node, statement, scope.node):
            yield statement, target


def _base(node: ast.AST) -> ast.Name | None:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node if isinstance(node, ast.Name) else None


def _mentions(node: ast.expr, name: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))


def _is_new(program: Program, file: SourceFile, value: ast.expr) -> bool:
    """Is it a module with weights of its own, made right here?"""
    made = program.evaluate(file, value).alternatives()
    return all(
        isinstance(one, Instance) and one.is_module and one.call is not None and one.call.file is file
        and file.statement(one.call.node) is file.statement(value) and has_parameters(one)
        for one in made
    )  # fmt: skip


def _step_after(program: Program, call: Call, made: ast.Assign, change: ast.stmt) -> Call | None:
    """The step, certainly after the change, of this very optimizer: here, or in a function that is given both."""
    file = call.file
    scope = file.scope_of(made)
    names = [target.id for target in made.targets if isinstance(target, ast.Name)]
    for later in program.calls_in(file, scope.node) if names else ():
        receiver = later.receiver
        own = receiver is not None and later.method == "step" and isinstance(receiver.node, ast.Name)
        given = [arg for arg in later.node.args if isinstance(arg, ast.Name) and arg.id in names]
        used = receiver.node if own and receiver is not None else given[0] if given else None
        if (
            not isinstance(used, ast.Name)
            or used.id not in names
            or not is_passed_before(file, change, used, scope.node)
        ):
            continue
        seen = [binding.node for binding in reaching(file, scope.bindings.get(used.id, []), used, scope.node)]
        if seen == [made] and (own or _trains(program, later)):
            return later
    return None


def _trains(program: Program, call: Call) -> bool:
    effects = {event.effect for function in program.effects.targets(call) for event in program.effects.of(function)}
    return {"backward", "step"} <= effects


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Move the optimizer's line to where the model is complete."""
    file = program.file(finding.site.path) if finding.site else None
    place = str(finding.evidence.get("optimizer_at", ""))
    target = file.node_at(finding.site, ast.Attribute, ast.Subscript, ast.Name) if file and finding.site else None
    change = file.statement(target) if file is not None and target is not None else None
    made = next((call for call in optimizers(program) if call.file is file and str(call.site) == place), None)
    statement = file.statement(made.node) if file is not None and made is not None else None
    if file is None or change is None or statement is None:
        return
    names = {name for target in getattr(statement, "targets", []) for name in [file.text_of(target)]}
    start, end = statement.end_lineno or statement.lineno, change.lineno
    between = b"".join(file.line_bytes(line) for line in range(start + 1, end)).decode(file.encoding, "replace")
    if file.parent(statement) is file.parent(change) and not any(name in between for name in names):
        moved = [edits.delete_statement(file, statement), edits.insert_after(file, change, file.text_of(statement))]
        found = edits.fix("make the optimizer when the model is complete", file, moved, safe=True)
        if found is not None:
            yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.body = nn.Linear(64, 64)
            self.head = nn.Linear(64, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(torch.relu(self.body(x)))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net(100)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    model.head = nn.Linear(64, 10)  # TDX211
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            model.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.body = nn.Linear(64, 64)
            self.head = nn.Linear(64, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(torch.relu(self.body(x)))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net(100)
    model.head = nn.Linear(64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            model.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    for width in (32, 64):
        model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for _ in range(5):
            for rows in torch.randperm(len(inputs)).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
        print(f"{loss.item():.3f} {model(inputs).shape}")
