"""Training is resumed from a checkpoint at its epoch, but the optimizer starts with nothing.

Seen as a loss that jumps, or training that stumbles for a while, at every restart, though the weights were loaded.

Hurts because Adam's averages of gradients and of their squares, and the momentum of SGD, are part of where training
stands. Made anew, Adam's first steps are all as long as the learning rate, whatever the gradient; after many epochs,
with gradients small and a rate that was right for them, they throw the weights off.

Helped by saving `optimizer.state_dict()` beside the model's, and the scheduler's, and loading them where the model's is
loaded.

No fault when only the weights are taken, as to fine-tune: then the epochs are counted from the start. Nor with plain
SGD, which remembers nothing. Where it is resumed only on demand this is a note: the run may have begun afresh.

Sources: PyTorch tutorial, "Saving and Loading Models", section "Saving & Loading a General Checkpoint"; Kingma and Ba,
"Adam" (2015), section 2.1, on the length of steps.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeGuard

from torchdx.finding import Finding
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.source import Call, Program, SourceFile

code, family, severity = "TDX917", "loop", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

ADAPTIVE = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Adadelta", "Adagrad", "SparseAdam")
OF_MODULES = ("parameters", "named_parameters", "train", "eval", "modules", "children")
"""What modules have, and optimizers and schedulers have not."""

COUNTED = re.compile(r"epoch|step|iter|round", re.IGNORECASE)
"""Keys under which it is kept how far training had come."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every checkpoint that says where to go on, and fills the model alone."""
    fillings = list(program.calls_named("load_state_dict"))
    if not program.training_loops or not fillings or not all(map(_fills_module, fillings)):
        return
    optimizer = next(_with_memory(program), None)
    if optimizer is None:
        return
    for call in program.calls("torch.load"):
        name = _name_of(call)
        filling = next((one for one in fillings if name and _is_given(one, call, name)), None)
        if filling is not None and _goes_on(call, name):
            yield Finding(
                message=f"training goes on where `{call.text[:60]}` says, but only the model's weights are loaded: "
                f"{optimizer.node.func.attr if isinstance(optimizer.node.func, ast.Attribute) else 'the optimizer'} "
                "begins without its averages",
                site=filling.site,
                evidence={"optimizer made at": str(optimizer.site), "checkpoint read at": str(call.site)},
                cure="save `optimizer.state_dict()`, and the scheduler's, in the checkpoint, and load them here",
                confidence=0.9,
                severity=None if _always(call) else "note",
            )


def _always(call: Call) -> bool:
    """Is it read in every run? Under an option, this run may never have resumed."""
    above = call.file.parent(call.node)
    while above is not None and not isinstance(above, ast.FunctionDef | ast.If):
        above = call.file.parent(above)
    return not isinstance(above, ast.If)


def _fills_module(call: Call) -> bool:
    """Is it certainly a model that is filled, by what it is or is used as? Else it may be an optimizer."""
    if call.receiver is None:
        return False
    made = call.receiver.value.alternatives()
    if made and all(isinstance(value, Instance) and value.is_module for value in made):
        return True
    if any(isinstance(value, Instance) for value in made):
        return False
    used = (node for node in call.file.index.parents if isinstance(node, ast.Attribute) and node.attr in OF_MODULES)
    return any(ast.unparse(node.value) == call.receiver.text for node in used)


def _with_memory(program: Program) -> Iterator[Call]:
    """The optimizers that remember gradients."""
    yield from program.calls(*(f"torch.optim.{name}" for name in ADAPTIVE))
    for call in program.calls("torch.optim.SGD"):
        given = [keyword.value for keyword in call.node.keywords if keyword.arg == "momentum"]
        if any(not isinstance(value, ast.Constant) or value.value for value in given):
            yield call


def _name_of(call: Call) -> str:
    """The name that the checkpoint is given; empty where it is given none."""
    statement = call.file.statement(call.node)
    target = statement.targets[0] if isinstance(statement, ast.Assign) and statement.value is call.node else None
    return target.id if isinstance(target, ast.Name) else ""


def _is_given(filling: Call, call: Call, name: str) -> bool:
    """Is the checkpoint of this name, of the same function, what fills the model?"""
    if filling.file is not call.file or _scope(call.file, filling.node) is not _scope(call.file, call.node):
        return False
    return any(isinstance(node, ast.Name) and node.id == name for arg in filling.node.args for node in ast.walk(arg))


def _goes_on(call: Call, name: str) -> bool:
    """Is an epoch, or a step, read from it, and where a loop over a range begins?"""
    counted = [node for node in ast.walk(_scope(call.file, call.node)) if _counts(node, name)]
    for node in counted:
        statement = call.file.statement(node)
        if isinstance(statement, ast.Assign):
            targets = {ast.unparse(target) for target in statement.targets}
            if any(_begins(loop, targets) for loop in _loops(call.file)):
                return True
        elif isinstance(statement, ast.For) and _is_range(statement.iter) and len(statement.iter.args) > 1:
            return True
    return False


def _counts(node: ast.AST, name: str) -> bool:
    """Is this `name["epoch"]`, or `name.get("epoch", 0)`?"""
    if isinstance(node, ast.Subscript):
        owner, key = node.value, node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        owner, key = node.func.value, node.args[0]
    else:
        return False
    named = isinstance(owner, ast.Name) and owner.id == name
    return named and isinstance(key, ast.Constant) and bool(COUNTED.search(str(key.value)))


def _loops(file: SourceFile) -> Iterator[ast.For]:
    yield from (node for node in file.index.parents if isinstance(node, ast.For))


def _begins(loop: ast.For, targets: set[str]) -> bool:
    """Does the range of this loop begin at one of these?"""
    call = loop.iter
    while isinstance(call, ast.Call) and not _is_range(call) and call.args:  # tqdm(range(...)) and its like
        call = call.args[0]
    if not _is_range(call) or len(call.args) < 2:
        return False
    return any(ast.unparse(node) in targets for node in ast.walk(call.args[0]) if isinstance(node, ast.expr))


def _is_range(node: ast.expr) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("range", "trange")


def _scope(file: SourceFile, node: ast.AST) -> ast.AST:
    return file.scope_of(node).node


def sick() -> None:
    import io

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    file = io.BytesIO()
    torch.save({"epoch": 1, "model": model.state_dict()}, file)
    file.seek(0)

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    checkpoint = torch.load(file)
    model.load_state_dict(checkpoint["model"])  # TDX917
    start = checkpoint["epoch"] + 1
    for _ in range(start, 8):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import io

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    file = io.BytesIO()
    torch.save({"epoch": 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)

    checkpoint = torch.load(file)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    start = checkpoint["epoch"] + 1
    for _ in range(start, 8):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    """Weights are taken to begin anew with; the epoch is only told."""
    import io

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    file = io.BytesIO()
    torch.save({"epoch": 1, "model": model.state_dict()}, file)
    file.seek(0)

    checkpoint = torch.load(file)
    model.load_state_dict(checkpoint["model"])
    print(f"weights of epoch {checkpoint['epoch']}")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(8):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
