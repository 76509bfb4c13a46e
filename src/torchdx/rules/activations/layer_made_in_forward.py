"""A layer with weights is made anew in every call of forward.

Seen as a model that learns less than its layers should allow, results that differ from call to call, and parameters
that appear in no `state_dict`.

Hurts because the layer starts from new random weights each time. They get gradients, once, and are thrown away with
them: no optimizer was given them, and the next call has others. What the layer gives is a random projection of its
input, another one in each step. On a GPU it fails, as the new weights lie on the CPU.

Helped by making the layer in `__init__`, and only applying it in `forward`.

No fault when the layer is made once, at the first call (`if self.layer is None: self.layer = ...`), when its weights
are set to fixed numbers or loaded, or when random weights are what is wanted.

Sources: PyTorch documentation, `torch.nn.Module`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.models import has_parameters
from torchdx.source.reading import words
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.source import Call, Program, TrainingLoop, UserClass, UserFunction

code, family, severity = "TDX305", "activations", "error"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset({"parameter-not-optimised", "not-learning"})

LAYERS = words(
    "Linear Bilinear Embedding EmbeddingBag Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LSTM "
    "GRU RNN LSTMCell GRUCell RNNCell MultiheadAttention TransformerEncoderLayer TransformerDecoderLayer Transformer"
)
WANTED = re.compile(r"rand|augment|noise|perturb|hash|mock|dummy|fake", re.IGNORECASE)
SETS = re.compile(r"load_state_dict|\.weight\b|\.bias\b|\.data\b|requires_grad|no_grad|init\w*\.|from_pretrained|copy_")


def in_source(program: Program) -> Iterator[Finding]:
    """Every layer with weights that is made and applied in one call of a model's forward."""
    for cls in program.classes():
        if _may_have(cls) and cls.is_model and not WANTED.search(cls.name):
            for method in _run_by_forward(cls):
                yield from _in(method)
                for function in _called_in(program, method):
                    yield from _in(function, only_directly=True)
    for loop in program.training_loops:
        for function in _called_in(program, loop):
            yield from _in(function, only_directly=True)


def _called_in(program: Program, caller: TrainingLoop | UserFunction) -> Iterator[UserFunction]:
    """The plain functions of its file that a loop, or a forward, calls by their names, as a model that is no class."""
    names = {
        node.func.id for node in ast.walk(caller.node) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    for function in program.functions():
        plain = function.owner is None and function.file is caller.file and function.name in names
        if plain and not WANTED.search(function.name):
            yield function


def _may_have(cls: UserClass) -> bool:
    scope = cls.file.index.scopes.get(cls.node)
    return scope is not None and "forward" in scope.bindings


def _run_by_forward(cls: UserClass) -> Iterator[UserFunction]:
    """Its `forward`, and the methods of its own that this calls."""
    own = {method.name: method for method in cls.own_methods}
    forward = own["forward"]
    called = {call.method for call in forward.calls() if call.text.startswith(f"{forward.self_name}.{call.method}(")}
    yield from (method for name, method in own.items() if name == "forward" or name in called)


def _in(forward: UserFunction, only_directly: bool = False) -> Iterator[Finding]:
    for call in forward.calls():
        above = call.file.parent(call.node)
        if only_directly and not (isinstance(above, ast.Call) and above.func is call.node and call.name):
            continue
        if _makes_layer(forward, call) and _is_applied(forward, call):
            yield Finding(
                message=f"`{call.text[:60]}` is made anew in every call of forward: its weights are random each time, "
                "and no optimizer has them",
                site=call.site,
                cure="make it in `__init__`, and apply it here",
                confidence=0.97,
            )


def _makes_layer(forward: UserFunction, call: Call) -> bool:
    """Is it a layer's constructor, that of a block of layers, or a plain function that makes one of these?"""
    if call.method in LAYERS and call.name == f"torch.nn.{call.method}":
        return True
    if call.file.text_of(call.node.func).startswith(f"{forward.self_name}."):
        return False
    made = call.program.evaluate(call.file, call.node)
    if not isinstance(made, Instance) or not made.is_module or made.call is None or not has_parameters(made):
        return False
    maker = made.call.function
    return made.call.node is call.node or (maker is not None and maker.owner is None and not maker.decorators)


def _is_applied(forward: UserFunction, call: Call) -> bool:
    """Is it called as it is made, or under the name that it is given, in every call of forward?"""
    file, made, above = call.file, call.node, call.file.parent(call.node)
    while isinstance(above, (ast.Attribute, ast.Call)) and _moves(above):
        made, above = above, file.parent(above)  # type: ignore[assignment]
    if isinstance(above, ast.Call):
        return above.func is made
    if not isinstance(above, ast.Assign) or len(above.targets) != 1:
        return False
    target = above.targets[0]
    if isinstance(target, ast.Attribute) and file.enclosing(made, ast.If, ast.Try, ast.FunctionDef) is not forward.node:
        return False  # perhaps made once
    if not isinstance(target, (ast.Name, ast.Attribute)) or SETS.search(file.text_of(forward.node)):
        return False
    name = file.text_of(target)
    return any(c.node.lineno > made.lineno and file.text_of(c.node.func) == name for c in forward.calls())


def _moves(node: ast.Attribute | ast.Call) -> bool:
    """`.to(device)` between the making and the use."""
    name = node if isinstance(node, ast.Attribute) else node.func
    return isinstance(name, ast.Attribute) and name.attr in ("to", "cuda", "float", "half", "double", "type")


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Move a layer of known size to the end of `__init__`."""
    file = program.file(finding.site.path) if finding.site else None
    made = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    forward = program.expression(file, made).function if file is not None and isinstance(made, ast.Call) else None
    owner = forward.owner if forward is not None else None
    init = next((m for m in owner.own_methods if m.name == "__init__"), None) if owner is not None else None
    if file is None or not isinstance(made, ast.Call) or owner is None or init is None or forward is None:
        return
    if init.self_name != forward.self_name or not all(_is_known(owner, arg) for arg in _arguments(made)):
        return
    above, last = file.parent(made), init.node.body[-1]  # type: ignore[index]
    if isinstance(above, ast.Assign) and isinstance(above.targets[0], ast.Attribute):
        line = f"{file.text_of(above.targets[0])} = {file.text_of(made)}"
        changes = [edits.insert_after(file, last, line), edits.delete_statement(file, above)]
    else:
        name = f"{init.self_name}.{_free_name(owner, made)}"
        line = f"{name} = {file.text_of(made)}"
        changes = [edits.insert_after(file, last, line), edits.replace(file, made, name)]
    fix = edits.fix("make the layer in `__init__`", file, changes)
    if fix is not None:
        yield fix


def _arguments(made: ast.Call) -> list[ast.expr]:
    return [*made.args, *(word.value for word in made.keywords)]


def _is_known(owner: UserClass, node: ast.expr) -> bool:
    """Is it a number or word, or an attribute that `__init__` sets?"""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return any(method is not None and method.name == "__init__" for _, method, _ in owner.attribute(node.attr))
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.Tuple) and all(isinstance(part, ast.Constant) for part in node.elts)
    )


def _free_name(owner: UserClass, made: ast.Call) -> str:
    word = (made.func.attr if isinstance(made.func, ast.Attribute) else getattr(made.func, "id", "layer")).lower()
    return next(name for name in (word, *(f"{word}{n}" for n in range(2, 99))) if not owner.attribute(name))


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Linear(64, 32)
            self.leave = nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.enter(x))
            x = x + torch.relu(nn.Linear(32, 32)(x))  # TDX305
            logits: torch.Tensor = self.leave(x)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
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

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Linear(64, 32)
            self.leave = nn.Linear(32, 10)
            self.inner = nn.Linear(32, 32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.enter(x))
            x = x + torch.relu(self.inner(x))
            logits: torch.Tensor = self.leave(x)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
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

    class Blurred(nn.Module):
        """A layer made at the first call, a fixed one, and one without weights."""

        def __init__(self) -> None:
            super().__init__()
            self.classify: nn.Linear | None = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            blur = nn.Conv2d(1, 1, 3, padding=1, bias=False)
            nn.init.constant_(blur.weight.requires_grad_(False), 1 / 9)
            x = nn.Flatten()(nn.ReLU()(x - blur(x)))
            if self.classify is None:
                self.classify = nn.Linear(x.shape[1], 10)
            logits: torch.Tensor = self.classify(x)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    model = Blurred()
    model(inputs[:1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
