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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.flow import is_passed_before, path_of, reaching
from torchdx.source.models import has_parameters
from torchdx.source.optimizers import optimizers
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.source import Call, Expression, Program, SourceFile, UserFunction
    from torchdx.source.index import Binding
    from torchdx.source.values import Value

code, family, severity = "TDX211", "gradients", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "parameter-not-optimised", "optimizer-of-other-parameters"})


@dataclass(frozen=True)
class Making:
    """Where an optimizer is made for a model: by torch's class or by a function that returns what it makes.

    `model` is the name or attribute that holds the model there, `call` torch's class.
    """

    call: Call
    at: Call
    model: ast.Name | ast.Attribute

    @property
    def file(self) -> SourceFile:
        return self.at.file

    @property
    def scope(self) -> ast.AST:
        return self.file.scope_of(self.at.node).node

    def is_model(self, node: ast.AST) -> bool:
        """Does an expression of the same scope certainly stand for the same model?"""
        if isinstance(self.model, ast.Attribute):
            return isinstance(node, ast.Attribute) and self.file.text_of(node) == self.file.text_of(self.model)
        if not isinstance(node, ast.Name) or node.id != self.model.id:
            return False
        bindings = self.file.scope_of(self.model).bindings.get(node.id, [])
        return reaching(self.file, bindings, node, self.scope) == reaching(self.file, bindings, self.model, self.scope)


def in_source(program: Program) -> Iterator[Finding]:
    """Every part put into a model, or model put in its place, after the optimizer that goes on stepping."""
    if any(b"add_param_group" in file.bytes for file in program.torch_files):
        return
    for call in optimizers(program):
        for making in _makings(call):
            for change, node, target in _changes(program, making):
                stepping = _step_after(program, making, change)
                if stepping is not None:
                    yield Finding(
                        message=f"`{target.text}` is made new after the optimizer, which holds the parameters of the "
                        f"old one: `{stepping.text[:40]}` never changes the new ones",
                        site=making.file.site(node),
                        layer=target.text.removeprefix("self.").partition(".")[2] or None,
                        evidence={"optimizer_at": str(making.at.site), "changed_at": str(target.site)},
                        cure="make the optimizer after the last change of the model",
                        confidence=0.95,
                    )
                    break


def _makings(call: Call) -> Iterator[Making]:
    """The optimizer's own call, where it is simply given all parameters of a model, or calls of the function around."""
    model = _model(call)
    if model is None:
        return
    yield Making(call, call, model)
    function = call.function
    if function is None or not isinstance(model, ast.Name) or model.id not in function.parameters:
        return
    returned = [_optimizer(call.program.evaluate(call.file, node)) for node in function.returns]
    for caller in call.program.callers(function) if returned == [call.node] else ():
        given = caller.argument(function.place_of(model.id), model.id)
        if given is not None and isinstance(given.node, (ast.Name, ast.Attribute)):
            yield Making(call, caller, given.node)


def _optimizer(value: Value) -> ast.Call | None:
    """The call that certainly made it."""
    return value.call.node if isinstance(value, Instance) and value.call is not None else None


def _model(call: Call) -> ast.Name | ast.Attribute | None:
    """The model, where the optimizer is simply given all its parameters."""
    node = call.node.args[0] if call.node.args else None
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("filter", "list"):
        node = node.args[-1] if node.args else None
    func = node.func if isinstance(node, ast.Call) else None
    if not isinstance(func, ast.Attribute) or func.attr != "parameters":
        return None
    is_own = isinstance(func.value, ast.Attribute) and isinstance(func.value.value, ast.Name)
    return func.value if isinstance(func.value, ast.Name) or is_own else None  # type: ignore[return-value]


def _changes(program: Program, making: Making) -> Iterator[tuple[ast.stmt, ast.expr, Expression]]:
    """The statements, certainly after the optimizer was made, that put something new into the model or in its place.

    With each, the target or call that does so, and what is made new: written elsewhere, if the call's function does it.
    """
    file, model, scope = making.file, making.model, making.file.scope_of(making.model)
    found: list[tuple[ast.AST, ast.expr, ast.expr]] = []
    for binding, target in _fillings(file, making.scope):
        if _is_inside(target, making.is_model):
            found.append((binding.node, target, binding.value))  # type: ignore[arg-type]
    for binding in scope.bindings.get(model.id, []) if isinstance(model, ast.Name) else ():
        targets = binding.node.targets if isinstance(binding.node, ast.Assign) and not binding.steps else []
        if len(targets) == 1 and binding.value is not None and not _mentions(binding.value, binding.name):
            found.append((binding.node, targets[0], binding.value))
    for node, target, value in found:
        statement = file.statement(node)
        if statement is not None and _is_after(making, statement) and _is_new(program, file, value):
            yield statement, target, program.expression(file, target)
    for call in program.calls_in(file, making.scope):
        statement = file.statement(call.node) if _might_change(making, call) else None
        if statement is not None and _is_after(making, statement):
            for one in _changed_by(program, making, call):
                yield statement, call.node, one


def _might_change(making: Making, call: Call) -> bool:
    """Is it given the model, or a method of what holds it, in a statement of its own?"""
    if call.node is making.at.node or call.node.lineno < making.at.node.lineno:
        return False
    model, receiver = making.model, call.receiver
    own = isinstance(model, ast.Attribute) and receiver is not None and isinstance(receiver.node, ast.Name)
    given = [*call.node.args, *(keyword.value for keyword in call.node.keywords)]
    if not (own or any(type(one) is type(model) and making.is_model(one) for one in given)):
        return False
    above = call.file.ancestors(call.node)
    return not any(isinstance(one, (ast.IfExp, ast.BoolOp, ast.Lambda)) for one in above)


def _fillings(file: SourceFile, scope: ast.AST) -> Iterator[tuple[Binding, ast.expr]]:
    """What a scope assigns to attributes and items of anything."""
    for binding in (*file.index.attributes_in.get(scope, ()), *file.index.items_in.get(scope, ())):
        if binding.how == "assign" and binding.value is not None and isinstance(binding.node, ast.expr):
            yield binding, binding.node


def _is_inside(target: ast.expr, is_model: Callable[[ast.AST], bool]) -> bool:
    """Is it an attribute or item, however deep, of the model?"""
    node: ast.AST = target
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
        if is_model(node):
            return True
    return False


def _changed_by(program: Program, making: Making, call: Call) -> Iterator[Expression]:
    """What a call certainly makes new in the model: in a function that is given it, or a method of the same object."""
    targets = program.effects.targets(call)
    if len(targets) != 1 or targets[0].name == "__init__" or targets[0].is_generator:
        return
    function, text = targets[0], making.file.text_of(making.model)
    named = next((p for p in function.parameters if _is_given(making, function, p, call)), None)
    receiver = call.receiver
    own = isinstance(making.model, ast.Attribute) and receiver is not None and receiver.text == text.partition(".")[0]
    own = own and call.function is not None and call.function.owner is function.owner
    if not named and not own:
        return
    bindings = function.file.scope_of(function.node.body[0]).bindings if isinstance(function.node.body, list) else {}
    for binding, target in _fillings(function.file, function.node):
        is_one = _is_inside(target, lambda node: function.file.text_of(node) == (named or text))
        once = named is None or len(bindings.get(named, ())) == 1
        straight = _is_always_reached(function, binding.node)
        if is_one and once and straight and binding.value and _is_new(program, function.file, binding.value):
            yield program.expression(function.file, target)


def _is_always_reached(function: UserFunction, node: ast.AST) -> bool:
    """Does every call of the function come to this place?"""
    path = path_of(function.file, node, function.node)
    before = function.node.body[: path[0][2]] if path and isinstance(function.node.body, list) else []
    return len(path) == 1 and not any(isinstance(inner, ast.Return) for part in before for inner in ast.walk(part))


def _is_given(making: Making, function: UserFunction, parameter: str, call: Call) -> bool:
    given = call.argument(function.place_of(parameter), parameter)
    return given is not None and making.is_model(given.node)


def _mentions(node: ast.expr, name: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))


def _is_after(making: Making, statement: ast.stmt) -> bool:
    return is_passed_before(making.file, making.at.node, statement, making.scope)


def _is_new(program: Program, file: SourceFile, value: ast.expr) -> bool:
    """Is it a module with weights of its own, made right here?"""
    made = program.evaluate(file, value).alternatives()
    return all(
        isinstance(one, Instance) and one.is_module and one.call is not None and one.call.file is file
        and file.statement(one.call.node) is file.statement(value) and has_parameters(one)
        for one in made
    )  # fmt: skip


def _step_after(program: Program, making: Making, change: ast.stmt) -> Call | None:
    """The step, certainly after the change, of this very optimizer: here, in a method, or in a function given both."""
    for later in program.calls_in(making.file, making.scope):
        receiver = later.receiver
        own = receiver is not None and later.method == "step"
        used = (
            [receiver.node] if own and receiver is not None else [a for a in later.node.args if isinstance(a, ast.Name)]
        )
        if any(
            is_passed_before(making.file, change, node, making.scope) and _is_optimizer(program, making, node)
            for node in used
        ) and (own or _trains(program, later)):
            return later
    return _step_by_method(program, making)


def _step_by_method(program: Program, making: Making) -> Call | None:
    """The step that another method takes with what the constructor keeps, when it is done."""
    function = making.at.function
    if function is None or function.name != "__init__" or function.owner is None:
        return None
    for method in function.owner.own_methods:
        for call in method.calls() if method is not function else ():
            kept = call.receiver.node if call.method == "step" and call.receiver is not None else None
            if isinstance(kept, ast.Attribute) and _is_optimizer(program, making, kept):
                return call
    return None


def _is_optimizer(program: Program, making: Making, node: ast.expr) -> bool:
    """Is it certainly what was made, and not made anew by the same call since?"""
    if _optimizer(program.evaluate(making.file, node)) is not making.call.node:
        return False
    statement = making.file.statement(making.at.node)
    others = (
        [call for call in program.callers(making.call.function) if call.node is not making.at.node]
        if (making.call is not making.at and making.call.function is not None)
        else []
    )
    return statement is not None and not others


def _trains(program: Program, call: Call) -> bool:
    effects = {event.effect for function in program.effects.targets(call) for event in program.effects.of(function)}
    return {"backward", "step"} <= effects


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Move the optimizer's line to where the model is complete."""
    file = program.file(finding.site.path) if finding.site else None
    place = str(finding.evidence.get("optimizer_at", ""))
    target = (
        file.node_at(finding.site, ast.Attribute, ast.Subscript, ast.Name, ast.Call) if file and finding.site else None
    )
    change = file.statement(target) if file is not None and target is not None else None
    makings = (making for call in optimizers(program) for making in _makings(call))
    made = next((one.at for one in makings if one.file is file and str(one.at.site) == place), None)
    statement = file.statement(made.node) if file is not None and made is not None else None
    if file is None or change is None or statement is None:
        return
    names = {name for target in getattr(statement, "targets", []) for name in [file.text_of(target)]}
    start, end = statement.end_lineno or statement.lineno, change.lineno
    between = b"".join(file.line_bytes(line) for line in range(start + 1, end)).decode(file.encoding, "replace")
    after = between + file.text_of(change)
    if file.parent(statement) is file.parent(change) and not any(name in after for name in names):
        moved = [edits.delete_statement(file, statement), edits.insert_after(file, change, file.text_of(statement))]
        found = edits.fix("make the optimizer when the model is complete", file, moved, safe=not between.strip())
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
