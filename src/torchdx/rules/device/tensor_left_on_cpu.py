"""A tensor made in forward is left on the CPU while the model is moved to an accelerator.

Seen as "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!" in the first
step on a GPU; on the CPU all is well.

Hurts because `torch.zeros(...)` and its like make their tensor on the CPU unless told otherwise, and layers that were
moved by `.to(device)` or `.cuda()` cannot compute with it.

Helped by making it where its partners are, `torch.zeros(n, device=x.device)` or `torch.zeros_like(x)`, or once, in
`__init__`, by `self.register_buffer(...)`.

No fault when it is moved afterwards, when it is a single number or an index, or when the model never leaves the CPU.

Sources: PyTorch documentation, "CUDA semantics".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.models import has_parameters
from torchdx.source.reading import words
from torchdx.source.values import Instance, Result, Value

if TYPE_CHECKING:
    from torchdx.source import Program, UserClass, UserFunction

code, family, severity = "TDX103", "device", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

MAKES = words("zeros ones rand randn randint arange eye full empty linspace")
KEEPING = words(
    "unsqueeze squeeze view reshape expand repeat float double half long int t transpose permute contiguous"
)
MOVES = re.compile(r"device|cuda|\.to\(|type_as|\.type\(|_like\(|\.new")
ELSEWHERE = re.compile(rb"set_default_device|set_default_tensor_type|with torch\.device|torch\.\w*cuda\w*\.\w*Tensor")
ACCELERATED = re.compile(rb"\.cuda\(|\.to\(\s*[\w.]*device|\.to\(\s*[\"'](cuda|mps)|[Aa]ccelerator")
FRAMEWORKS = ("lightning.", "pytorch_lightning.", "transformers.")
"""Whose `Trainer` moves models and batches; one of the user's own does what it says."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every tensor made in a model's forward, with no word on devices, that meets what was moved to one."""
    for cls in program.classes():
        scope = cls.file.index.scopes.get(cls.node)
        if scope is None or "forward" not in scope.bindings or not cls.is_model or cls.file.is_test:
            continue
        forward = cls.method("forward")
        made = [call for call in forward.calls() if call.method in MAKES] if forward is not None else []
        for call in made:
            if forward is None or call.name != f"torch.{call.method}" or not _stays(forward, call):
                continue
            if _meets_moved(forward, call) and _is_accelerated(program, cls):
                yield Finding(
                    message=f"`{call.text[:60]}` is made on the CPU, and meets what is moved to an accelerator",
                    site=call.site,
                    cure="pass `device=x.device`, x being the input that it meets",
                    confidence=0.9,
                )


def _stays(forward: UserFunction, call: Call) -> bool:
    """Does nothing in its statement, or later to its name, speak of devices?"""
    statement = forward.file.statement(call.node)
    if statement is None or not call.is_certain or not call.node.args or isinstance(statement, (ast.If, ast.For)):
        return False
    if MOVES.search(forward.file.text_of(statement)) or any(MOVES.search(guard.text) for guard in call.guards()):
        return False
    name = _name_of(call)
    lines = forward.file.text_of(forward.node).splitlines()
    return not name or not any(re.search(rf"\b{name}\b", line) and MOVES.search(line) for line in lines)


def _reshaped(call: Call) -> ast.expr:
    """The tensor with all that only changes its shape or type: `torch.arange(n).unsqueeze(0)`."""
    node: ast.expr = call.node
    while True:
        dot = call.file.parent(node)
        outer = call.file.parent(dot) if isinstance(dot, ast.Attribute) and dot.attr in KEEPING else None
        if not isinstance(outer, ast.Call) or outer.func is not dot:
            return node
        node = outer


def _name_of(call: Call) -> str:
    """The name that the tensor itself, and nothing computed from it, is given."""
    statement = call.file.statement(call.node)
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and statement.value is _reshaped(call):
        target = statement.targets[0]
        return target.id if isinstance(target, ast.Name) else ""
    return ""


def _meets_moved(forward: UserFunction, call: Call) -> bool:
    """Is it given to a layer with weights, or computed with what such a layer gave?"""
    file, name, tensor = forward.file, _name_of(call), _reshaped(call)
    for other in forward.calls():
        if other.node.lineno < call.node.lineno:
            continue
        callee = None
        for node in _operands(other):
            if node is tensor or (name and isinstance(node, ast.Name) and node.id == name):
                callee = callee or forward.program.evaluate(file, other.node.func)
                if _has_weights(callee):
                    return True
    parent = file.parent(tensor)
    if isinstance(parent, ast.BinOp):
        side = parent.left if parent.right is tensor else parent.right
        return _is_moved(forward.program.evaluate(file, side))
    return False


def _operands(call: Call) -> Iterator[ast.expr]:
    """The arguments of a call, those in tuples and lists too."""
    for node in call.node.args:
        yield from node.elts if isinstance(node, (ast.Tuple, ast.List)) else (node,)


def _has_weights(callee: Value) -> bool:
    """Is it certainly a layer of torch's with weights?"""
    found = callee.alternatives()
    return all(isinstance(one, Instance) and one.definition is None and has_parameters(one) for one in found)


def _is_moved(value: Value) -> bool:
    return isinstance(value, Result) and value.module is not None and _has_weights(value.module)


def _is_accelerated(program: Program, cls: UserClass) -> bool:
    """Do the class's file, or those that make objects of it, move something, and none set a default device?"""
    init = cls.method("__init__")
    files = {cls.file, *(call.file for call in (program.callers(init) if init is not None else ()))}
    if any(ELSEWHERE.search(file.bytes) for file in program.torch_files):
        return False
    trained = any(call.file in files and call.name.startswith(FRAMEWORKS) for call in program.calls_named("Trainer"))
    return trained or any(ACCELERATED.search(file.bytes) for file in files)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Make it where forward's first argument is."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    function = program.expression(file, node).function if file is not None and isinstance(node, ast.Call) else None
    if file is None or not isinstance(node, ast.Call) or function is None or len(function.parameters) < 2:
        return
    given = function.parameters[1]
    fix = edits.fix(f"make it where `{given}` is", file, [edits.insert_keyword(file, node, f"device={given}.device")])
    if fix is not None:
        yield fix


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = nn.GRU(8, 32, batch_first=True)
            self.leave = nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            start = torch.zeros(1, len(x), 32)  # TDX103
            states, _ = self.memory(x, start)
            logits: torch.Tensor = self.leave(states[:, -1])
            return logits

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32, device=device) / 16
    labels = torch.tensor(digits.target, device=device)
    model = Reader().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
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

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = nn.GRU(8, 32, batch_first=True)
            self.leave = nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            start = torch.zeros(1, len(x), 32, device=x.device)
            states, _ = self.memory(x, start)
            logits: torch.Tensor = self.leave(states[:, -1])
            return logits

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32, device=device) / 16
    labels = torch.tensor(digits.target, device=device)
    model = Reader().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
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

    class Reader(nn.Module):
        """One tensor is moved in the next line, one is an index, one follows its input."""

        def __init__(self) -> None:
            super().__init__()
            self.memory = nn.GRU(8, 32, batch_first=True)
            self.leave = nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            start = torch.zeros(1, len(x), 32)
            start = start.to(x.device)
            states, _ = self.memory(x + torch.zeros_like(x), start)
            rows = torch.arange(len(x))
            logits: torch.Tensor = self.leave(states[rows, -1]) * torch.ones(10).type_as(x)
            return logits

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32, device=device) / 16
    labels = torch.tensor(digits.target, device=device)
    model = Reader().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
