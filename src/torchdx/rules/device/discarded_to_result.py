"""A tensor is moved or converted, and the moved tensor is thrown away.

Seen as "Expected all tensors to be on the same device", or an unexpected dtype, although the line that should have
prevented it was run.

Hurts because on a tensor `.to()`, `.cuda()`, `.float()` and their like return a *new* tensor and leave the old one
where and what it was; only a module is moved in place. A statement that keeps nothing of the result does nothing at
all.

Helped by keeping the result: `x = x.to(device)`.

No fault when it is a module that is moved (`model.to(device)` works in place), a batch object of a library whose own
`.to` moves it in place, the end of a chain that changes a tensor in place, or a notebook's line that shows the result.

Sources: PyTorch documentation, `torch.Tensor.to` and `torch.nn.Module.to`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.notebook import Notebook
from torchdx.source.reading import words
from torchdx.source.tensors import is_tensor
from torchdx.source.values import Instance, Item, Value

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile

code, family, severity = "TDX102", "device", "error"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

CONVERTING = words(
    "to cuda cpu float half double bfloat16 long int bool type detach contiguous permute transpose reshape view"
)


def in_source(program: Program) -> Iterator[Finding]:
    """Every statement that is nothing but a conversion of a tensor."""
    for call in program.calls_named(*sorted(CONVERTING)):
        if not call.is_statement or call.receiver is None or call.name or _is_harmless(call):
            continue
        value = call.receiver.value
        proven = is_tensor(value)
        if proven or all(_is_part_of_batch(choice) for choice in value.alternatives()):
            yield Finding(
                message=f"`.{call.method}()` returns a new tensor, and this statement throws it away: "
                f"`{call.receiver.text}` stays as it was",
                site=call.site,
                cure=f"keep the result: `{call.receiver.text} = {call.text}`",
                confidence=0.98 if proven else 0.85,
                severity=None if proven else "warning",
            )


def _is_harmless(call: Call) -> bool:
    """Is nothing lost: a lesson, a type asked for, or the last link of a chain that changes a tensor in place?

    A line of a notebook, run once by itself, may be there to show just that nothing changes.
    """
    if isinstance(call.file, Notebook) and call.function is None and not any(call.file.loops_around(call.node)):
        return True
    asked = call.method == "type" and not call.node.args and not call.node.keywords
    return asked or (isinstance(call.node.func, ast.Attribute) and _changes_in_place(call.node.func.value))


def _changes_in_place(node: ast.expr) -> bool:
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr[-1:] == "_" and node.func.attr[-2:] != "__":
            return True
        node = node.func.value
    return False


def _is_part_of_batch(value: Value) -> bool:
    """Is it one of several things that a loader gives together? Such are tensors, but for rare collate functions."""
    batch = value.of.of if isinstance(value, Item) and isinstance(value.of, Item) and value.of.key is None else None
    return (
        isinstance(batch, Instance)
        and isinstance(value, Item)
        and value.key is not None
        and batch.is_loader
        and not (batch.call is not None and batch.call.gives("collate_fn"))
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Keep the result under the same name."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    if isinstance(node.func.value, (ast.Name, ast.Attribute, ast.Subscript)):
        text = f"{file.text_of(node.func.value)} = {file.text_of(node)}"
        name, scope = node.func.value, file.scope_of(node)
        local = isinstance(name, ast.Name) and name.id in scope.bindings
        if isinstance(name, ast.Name) and not local and name.id not in scope.foreign:
            return  # an assignment would make another name of it
        if isinstance(name, ast.Name) and not _is_read_again(file, node, name.id):
            return  # to keep it under that name would help nobody
        safe = local and finding.severity == "error"
        found = edits.fix("keep the converted tensor", file, [edits.replace(file, node, text)], safe=safe)
        if found is not None:
            yield found


def _is_read_again(file: SourceFile, node: ast.Call, name: str) -> bool:
    """Is the name, once it has been given the result, ever read: below, or in the next round of a loop?"""
    around = next(file.loops_around(node), None)
    own = isinstance(around, ast.For) and name in {n.id for n in ast.walk(around.target) if isinstance(n, ast.Name)}
    if around is not None and not own:
        return True
    reads = (n for n in ast.walk(around or file.scope_of(node).node) if isinstance(n, ast.Name) and n.id == name)
    return any(isinstance(read.ctx, ast.Load) and read.lineno > node.lineno for read in reads)


def sick() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Linear(4, 1)
    model.to(device)
    inputs = torch.randn(256, 4)
    inputs.to(device)  # TDX102
    inputs = inputs.clone().to(device)
    targets = inputs.sum(1, keepdim=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Linear(4, 1)
    model.to(device)
    inputs = torch.randn(256, 4)
    inputs = inputs.to(device)
    targets = inputs.sum(1, keepdim=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from torch import nn

    class Batch:
        def __init__(self, inputs: torch.Tensor) -> None:
            self.inputs = inputs

        def to(self, device: torch.device) -> None:
            self.inputs = self.inputs.to(device)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = Batch(torch.randn(256, 4))
    batch.to(device)
    model = nn.Linear(4, 1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(batch.inputs), batch.inputs.sum(1, keepdim=True))
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")
