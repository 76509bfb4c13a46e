"""Modules are kept in a plain list or dict, where the model does not know of them.

Seen as layers that never learn, `model.parameters()` that is too short, a `state_dict` without them, and, once the
model is moved, "Expected all tensors to be on the same device".

Hurts because `nn.Module` registers what is assigned to an attribute only if that is itself a module or a parameter. It
does not look into lists and dicts: what is in them gets gradients, but no optimizer is given its weights, `.to()` does
not move it, `.eval()` does not reach it, and it is not saved.

Helped by `nn.ModuleList([...])` or `nn.ModuleDict({...})` in the place of the list or dict.

No fault when the modules are registered under another name too (`setattr`, `add_module`, an `nn.Sequential` of the same
list), or are hidden on purpose, as a frozen teacher is.

Sources: PyTorch documentation, `torch.nn.ModuleList`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.growth import GROWING
from torchdx.source.models import has_parameters
from torchdx.source.values import Group, Instance

if TYPE_CHECKING:
    from torchdx.source import Call, Program, UserClass, UserFunction
    from torchdx.source.index import Binding

code, family, severity = "TDX304", "activations", "error"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset({"parameter-not-optimised", "not-learning"})

PLAIN = (ast.List, ast.Tuple, ast.ListComp, ast.Dict, ast.DictComp)
REGISTERS = re.compile(
    rb"setattr\(|\badd_module\(|register_module\(|__dict__|_modules\b|def (named_)?(parameters|modules)\("
)
LOOKING = frozenset(["len", "enumerate", "zip", "reversed", "range", "iter", "print", "list", *GROWING])


def in_source(program: Program) -> Iterator[Finding]:
    """Every attribute of a model that is a plain list or dict of modules with weights, used, and known nowhere else."""
    for cls in program.classes():
        for name, found in cls.own_attributes.items():
            method, binding = found[0]
            made = _plain(cls, method, binding) if len(found) == 1 and method is not None else None
            if made is None or not cls.is_model or method is None or not _holds_layers(cls, made):
                continue
            if not REGISTERS.search(cls.file.text_of(cls.node).encode()) and _is_used(program, cls, name, method):
                kind = "dict" if isinstance(made, (ast.Dict, ast.DictComp)) else "list"
                yield Finding(
                    message=f"the modules in the plain {kind} `{cls.file.text_of(binding.node)}` are no part of "
                    f"{cls.name}: they are never trained, moved or saved",
                    site=cls.file.site(made),
                    layer=name,
                    cure="keep them in an `nn.ModuleDict`" if kind == "dict" else "keep them in an `nn.ModuleList`",
                    confidence=0.97,
                )


def _plain(cls: UserClass, method: UserFunction | None, binding: Binding) -> ast.expr | None:
    """The list or dict that is assigned, here or by way of one local name."""
    value = binding.value
    if method is None or binding.steps or binding.how != "assign":
        return None
    if isinstance(value, ast.Name):
        local = cls.file.index.scopes[method.node].bindings.get(value.id, [])
        plain = len(local) == 1 and local[0].how == "assign" and not local[0].steps
        value = local[0].value if plain and not _is_handed_over(cls, method, value) else None
    return value if isinstance(value, PLAIN) else None


def _is_handed_over(cls: UserClass, method: UserFunction, name: ast.Name) -> bool:
    """Is what a local name stands for also given to something that may register it, as in `nn.Sequential(*layers)`?"""
    uses = (node for node in ast.walk(method.node) if isinstance(node, ast.Name) and node.id == name.id)
    return any(node is not name and isinstance(node.ctx, ast.Load) and _hands_over(cls, node) for node in uses)


def _holds_layers(cls: UserClass, made: ast.expr) -> bool:
    """Does it hold nothing but modules with weights that are made right here for it?"""
    if isinstance(made, (ast.Dict, ast.DictComp)):
        nodes = made.values if isinstance(made, ast.Dict) else [made.value]
        values = [cls.program.evaluate(cls.file, node) for node in nodes if isinstance(node, ast.Call)]
        if len(values) != len(nodes):
            return False
    else:
        group = cls.program.evaluate(cls.file, made)
        values = list(group.items) if isinstance(group, Group) else []
        if len(values) == 1 and isinstance(made, (ast.List, ast.Tuple)) and made.elts:
            return False  # one module in a list is hidden on purpose
    choices = [choice for value in values for choice in value.alternatives()]
    modules = [choice for choice in choices if isinstance(choice, Instance) and choice.is_module]
    return (
        bool(choices)
        and len(modules) == len(choices)
        and any(map(has_parameters, modules))
        and all(_is_made_for_it(cls, module, made) for module in modules)
    )


def _is_made_for_it(cls: UserClass, module: Instance, made: ast.expr) -> bool:
    """Is it made in the list itself, in what is appended to it, or under a local name that no attribute is given?"""
    call = _asked_for(module)
    if call is None or call.file is not cls.file:
        return False
    above = cls.file.parent(call.node)
    if isinstance(above, ast.Assign) and all(isinstance(target, ast.Name) for target in above.targets):
        names = {target.id for target in above.targets if isinstance(target, ast.Name)}
        kept = [b.value for found in cls.own_attributes.values() for _, b in found]
        return not any(isinstance(value, ast.Name) and value.id in names for value in kept)
    grows = isinstance(above, ast.Call) and isinstance(above.func, ast.Attribute) and above.func.attr in GROWING
    return above is made or grows


def _asked_for(module: Instance) -> Call | None:
    """The call that made it; where that stands in a function that keeps nothing, the call of the function."""
    call = module.call
    while call is not None and call.frame is not None and call.frame.call is not None and call.frame.this is None:
        call = call.frame.call
        if any(isinstance(given.node, ast.Name) and given.node.id == "self" for given in call.arguments()):
            return None  # which may be registered there
    return call


def _is_used(program: Program, cls: UserClass, name: str, made_in: UserFunction) -> bool:
    """Do methods compute with it, and is it nowhere handed over to something that may register it?"""
    used = False
    for node in ast.walk(cls.node):
        if not (isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Load)):
            continue
        function = program.expression(cls.file, node).function
        if function is None or (_hands_over(cls, node) and function.name != "forward"):
            return False
        if "parameters(" in cls.file.text_of(function.node) and function is not made_in:
            return False
        used |= function is not made_in
    elsewhere = re.compile(rb"\bin [\w.()]*\." + name.encode() + rb"\b")
    others = (file for file in program.torch_files if elsewhere.search(file.bytes) and b"parameters(" in file.bytes)
    return used and all(file is cls.file for file in others)


def _hands_over(cls: UserClass, node: ast.AST) -> bool:
    above = cls.file.parent(node)
    if isinstance(above, (ast.Starred, ast.Return, ast.Assign, ast.keyword)):
        return True
    if isinstance(above, ast.Attribute):  # self.layers.append
        return above.attr not in (*GROWING, "items", "values", "keys", "index", "get")
    word = getattr(above, "func", None)
    return isinstance(above, ast.Call) and (getattr(word, "id", "") or getattr(word, "attr", "")) not in LOOKING


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Put it into a ModuleList or ModuleDict, spelt as the file spells torch."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, *PLAIN) if file is not None and finding.site else None
    if file is None or node is None:
        return
    names = file.module_scope.bindings
    prefix = "nn." if "nn" in names else "torch.nn." if "torch" in names else None
    if prefix is None and "from torch import nn" in file.text:
        prefix = "nn."
    kind = "ModuleDict" if isinstance(node, (ast.Dict, ast.DictComp)) else "ModuleList"
    if prefix is not None:
        edit = edits.replace(file, node, f"{prefix}{kind}({_listed(file.text_of(node), node)})")
        fix = edits.fix(f"keep the modules in an `nn.{kind}`", file, [edit])
        if fix is not None:
            yield fix


def _listed(text: str, node: ast.AST) -> str:
    return f"({text})" if isinstance(node, ast.Tuple) and not text.startswith("(") else text


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, width: int, depth: int) -> None:
            super().__init__()
            self.enter = nn.Linear(64, width)
            self.blocks = [nn.Linear(width, width) for _ in range(depth)]  # TDX304
            self.leave = nn.Linear(width, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.enter(x)
            for block in self.blocks:
                x = x + torch.relu(block(x))
            logits: torch.Tensor = self.leave(x)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Residual(32, 2)
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

    class Residual(nn.Module):
        def __init__(self, width: int, depth: int) -> None:
            super().__init__()
            self.enter = nn.Linear(64, width)
            self.blocks = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
            self.leave = nn.Linear(width, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.enter(x)
            for block in self.blocks:
                x = x + torch.relu(block(x))
            logits: torch.Tensor = self.leave(x)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Residual(32, 2)
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

    class Listed(nn.Module):
        """Registered by `setattr`, by a Sequential of the same list, and by a name of their own."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(64, width), nn.Linear(width, 10)
            self.ends = [self.enter, self.leave]
            inner = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)]
            self.inner = nn.Sequential(*inner)
            self.sizes = [width, width]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.ends[0](x))
            logits: torch.Tensor = self.ends[1](torch.relu(self.inner(x)))
            return logits

    class Named(nn.Module):
        def __init__(self, width: int, depth: int) -> None:
            super().__init__()
            self.layers = [nn.Linear(width, width) for _ in range(depth)]
            for place, layer in enumerate(self.layers):
                setattr(self, f"layer{place}", layer)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = x + torch.relu(layer(x))
            return x

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(Named(64, 2), Listed(32))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(6):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
