"""A line that is meant to freeze or change parameters has no effect on any of them.

Seen as layers that go on learning though they were to be frozen (or stay frozen though they were to learn again), as
long a time for each step as before, and as good pretrained features that are lost.

Hurts because Python lets any object be given any attribute. `requires_grad` is one of tensors: a module that is given
it just keeps it, and its parameters do not notice. So does a tensor with a misspelt `require_grad`, and `trainable` is
a word of Keras's. An assignment to the variable of a loop, `p = p.detach()`, only gives the name to another tensor.

Helped by `module.requires_grad_(False)`, or `p.requires_grad = False` for each `p` of `module.parameters()`.

No fault when the object is a tensor or parameter, or the program itself reads the attribute.

Sources: PyTorch documentation, `torch.nn.Module.requires_grad_`; "Autograd mechanics: setting requires_grad".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Edit, Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.calling import SAME_MODULE
from torchdx.source.flow import reaching
from torchdx.source.reading import words
from torchdx.source.values import Instance, Item, Method, Result

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile
    from torchdx.source.index import Binding
    from torchdx.source.values import Value

code, family, severity = "TDX212", "gradients", "error"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

MISSPELT = (
    r"require_grads?|requires_grads|required_grads?|requires_gradients?|require_gradients?|requires_gard|reqires_grad"
)
ASSIGNED = re.compile(rb"\.(?:" + MISSPELT.encode() + rb"|requires_grad|trainable)\s*=[^=]")
WRONG = re.compile(rf"{MISSPELT}|trainable")
PARTS = words("children modules")
NAMED_PARTS = words("named_children named_modules")
LAYERS = words(
    "fc features classifier layer1 layer2 layer3 layer4 conv1 bn1 avgpool head heads encoder backbone AuxLogits"
)
"""Names under which the models of torchvision hold modules."""
PURE = words("detach to cuda cpu clone float half double contiguous view reshape flatten")


def in_source(program: Program) -> Iterator[Finding]:
    """Every such attribute given to what does not know it, and every parameter's name given away in a loop."""
    for file in program.torch_files:
        if ASSIGNED.search(file.bytes):
            for bindings in file.index.attributes_in.values():
                for binding in bindings:
                    yield from _attribute(program, file, binding)
        if b"parameters()" in file.bytes:
            for loop in file.index.loops:
                yield from _given_away(program, file, loop) if isinstance(loop, ast.For) else ()


def _attribute(program: Program, file: SourceFile, binding: Binding) -> Iterator[Finding]:
    target, given = binding.node, binding.value
    wrong = WRONG.fullmatch(binding.name) is not None
    if not isinstance(target, ast.Attribute) or not (wrong or binding.name == "requires_grad"):
        return
    if not isinstance(given, ast.Constant) or not isinstance(given.value, bool):
        return
    values = program.evaluate(file, target.value).alternatives()
    is_module = all(_is_module(value) for value in values)
    misspelt = wrong and binding.name != "trainable"
    if not (is_module or (misspelt and all(_is_parameter(value) for value in values))):
        return
    if _is_read(program, binding.name, values):
        return
    text = file.text_of(target)
    what = "a module" if is_module else "a tensor"
    yield Finding(
        message=f"`{text} = {given.value}` gives {what} an attribute that nothing looks at, and "
        f"{'freezes' if not given.value else 'unfreezes'} nothing",
        site=file.site(target),
        cure=f"write `{_cured(file, target, given.value, is_module)}`",
        confidence=0.97,
        severity="error" if not given.value else "warning",
    )


def _is_module(value: Value) -> bool:
    if isinstance(value, Instance):
        return value.is_module and not value.is_loss
    if isinstance(value, Item):
        of = value.of
        if isinstance(of, Item) and value.key == 1 and isinstance(of.of, Result):
            return of.of.dotted.rpartition(".")[2] in NAMED_PARTS
        return isinstance(of, Result) and value.key is None and of.dotted.rpartition(".")[2] in PARTS
    if isinstance(value, Method):
        return value.method in LAYERS and _is_module(value.receiver)
    if not isinstance(value, Result) or value.module is not None:
        return False
    if value.given is not None and value.name[:2] == "?." and value.name[2:] in SAME_MODULE:
        return all(_is_module(choice) for choice in value.given.alternatives())
    return value.name.startswith(("torchvision.models.", "timm.create_model"))


def _is_parameter(value: Value) -> bool:
    """Is it a parameter: out of `parameters()`, or the weight of a module?"""
    if isinstance(value, Method):
        return value.method in ("weight", "bias")
    if isinstance(value, Item) and value.key == 1 and isinstance(value.of, Item):
        inner = value.of.of
        return isinstance(inner, Result) and inner.dotted.endswith(".named_parameters")
    return isinstance(value, Item) and isinstance(value.of, Result) and value.of.dotted.endswith(".parameters")


def _is_read(program: Program, name: str, values: tuple[Value, ...]) -> bool:
    """Does the program itself look at the attribute, or define it?"""
    if name == "requires_grad":
        owners = [value.definition for value in values if isinstance(value, Instance) and value.definition is not None]
        mine = re.compile(rb"self\.requires_grad\b|def requires_grad\b|def __setattr__")
        return any(mine.search(cls.file.bytes) for owner in owners for cls in owner.lineage)
    read = re.compile(rb"\.%b\b(?!\s*=[^=])|['\"]%b['\"]|def %b\b" % ((name.encode(),) * 3))
    return any(read.search(file.bytes) for file in program.torch_files)


def _cured(file: SourceFile, target: ast.Attribute, value: bool, is_module: bool) -> str:
    text = file.text_of(target.value)
    return f"{text}.requires_grad_({value})" if is_module else f"{text}.requires_grad = {value}"


def _given_away(program: Program, file: SourceFile, loop: ast.For) -> Iterator[Finding]:
    """The assignment to the variable of a loop over parameters, where nobody reads it any more."""
    call, name = loop.iter, loop.target
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return
    if call.func.attr == "named_parameters" and isinstance(name, ast.Tuple) and len(name.elts) == 2:
        name = name.elts[1]
    elif call.func.attr != "parameters":
        return
    for statement in loop.body if isinstance(name, ast.Name) else ():
        if isinstance(name, ast.Name) and _only_renames(program, file, statement, name.id):
            yield Finding(
                message=f"`{file.text_of(statement)[:60]}` only gives the name `{name.id}` to another tensor: the "
                "parameter stays as it is",
                site=file.site(statement),
                cure="change the parameter itself, in place and under `torch.no_grad()`, or freeze it by "
                f"`{name.id}.requires_grad = False`",
                confidence=0.97,
            )


def _only_renames(program: Program, file: SourceFile, statement: ast.stmt, name: str) -> bool:
    """Does it compute something, give it this name, and is that never read?"""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return False
    target = statement.targets[0]
    renames = isinstance(target, ast.Name) and target.id == name and _is_pure(program, file, statement.value)
    return renames and not _is_used_after(file, statement, name)


def _is_pure(program: Program, file: SourceFile, value: ast.expr) -> bool:
    """Does computing it certainly change nothing?"""
    for node in ast.walk(value):
        if isinstance(node, ast.Call):
            call = Call(program, file, node)
            last = call.method
            if not (last in PURE or (call.name.startswith("torch.") and not last.endswith("_") and "init" not in last)):
                return False
    return not isinstance(value, (ast.Name, ast.Constant))


def _is_used_after(file: SourceFile, statement: ast.stmt, name: str) -> bool:
    """May anybody read what the statement gives the name?"""
    scope = file.scope_of(statement)
    bindings = scope.bindings.get(name, [])
    for node in ast.walk(scope.node):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            here = file.scope_of(node)
            if here is not scope and name in here.bindings:
                continue
            seen = bindings if here is not scope else reaching(file, bindings, node, scope.node)
            if any(binding.node is statement for binding in seen):
                return True
    return False


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Freeze it by the method, or by the attribute as it is spelt."""
    file = program.file(finding.site.path) if finding.site else None
    target = file.node_at(finding.site, ast.Attribute) if file is not None and finding.site else None
    statement = file.statement(target) if file is not None and target is not None else None
    if file is None or not isinstance(target, ast.Attribute) or not isinstance(statement, ast.Assign):
        return
    if len(statement.targets) != 1 or not isinstance(statement.value, ast.Constant):
        return
    is_module = all(_is_module(value) for value in program.evaluate(file, target.value).alternatives())
    text = _cured(file, target, bool(statement.value.value), is_module)
    change: Edit = edits.replace(file, statement, text)
    found = edits.fix("set it on the parameters", file, [change], safe=finding.severity == "error")
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
    body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    model = nn.Sequential(body, nn.Linear(64, 10))
    body.requires_grad = False  # type: ignore[assignment]  # TDX212
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
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
    body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    trained = nn.Sequential(nn.Linear(64, 64), nn.ReLU())  # stands for a file of trained weights
    body.load_state_dict(trained.state_dict())
    model = nn.Sequential(body, nn.Linear(64, 10))
    body.requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 64)
            self.trainable = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found = torch.relu(self.layer(x))
            return found if self.trainable else found.detach()

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    body, head = Body(), nn.Linear(64, 10)
    body.trainable = False
    body.layer.weight.requires_grad = False
    for parameter in body.parameters():
        parameter.requires_grad = False
        parameter = parameter.detach()  # type: ignore[assignment]
        print(parameter.shape)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(body(inputs[rows])), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
