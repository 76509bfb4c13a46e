"""A model is measured with gradients on: every layer keeps its activations for a backward pass that never comes.

Seen as an evaluation that needs about as much memory as training does, and is slower than it could be.

Hurts because autograd records each operation on parameters that require gradients, and holds what their derivatives
need until the result is forgotten. `model.eval()` changes what dropout and batch normalisation do, not this.

Helped by `with torch.no_grad():` (or `torch.inference_mode()`) around the measurement, or as the function's decorator.

No fault when gradients are wanted there: by inputs (attacks, saliency), for penalties, for test-time training.

Sources: PyTorch documentation, "Autograd mechanics: locally disabling gradient computation".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import edits
from torchdx.source.effects import without_gradient
from torchdx.source.index import FUNCTIONS

if TYPE_CHECKING:
    from torchdx.record import Phase, Record
    from torchdx.source import Call, Program, SourceFile, UserFunction

code, family, severity = "TDX805", "generalisation", "note"
needs: frozenset[str] = frozenset()
explains = frozenset({"slow"})

SWITCHED = re.compile(rb"set_grad_enabled|volatile|requires_grad|inference_tensor|no_grad\(\)\.__enter__")
"""Signs, in the code around, that gradients are off by other means."""

WANTED = re.compile(r"backward|grad|jacobian|attack|vmap|optim|step\(|adapt|tent\b")
"""Signs, in the loop, that gradients are wanted, or are off."""

FARTHEST = 3


def in_source(program: Program) -> Iterator[Finding]:
    """Every model that is put into evaluation mode, then called in a loop of the same code with gradients on."""
    told: set[ast.AST] = set()
    for call in program.calls_named("eval"):
        receiver, file = call.receiver, call.file
        if receiver is None or call.node.args or not isinstance(receiver.node, (ast.Name, ast.Attribute)):
            continue
        scope = file.scope_of(call.node).node
        if scope in told or not file.imports_torch or SWITCHED.search(_bytes_of(file, scope)):
            continue
        measured = _called_in_loop(program, call, receiver.text)
        if measured is not None and not _may_be_off(program, measured, 0):
            told.add(scope)
            yield Finding(
                message=f"`{measured.text[:60]}` measures with gradients on: activations are kept for a backward pass "
                "that never comes",
                site=measured.site,
                cure="put the measurement under `torch.no_grad()`",
                confidence=0.9,
            )


def _bytes_of(file: SourceFile, scope: ast.AST) -> bytes:
    """A function's source with its decorators; a module's whole."""
    if not isinstance(scope, FUNCTIONS):
        return file.bytes
    start, end = file.span(scope)
    first = min([scope.lineno, *(node.lineno for node in getattr(scope, "decorator_list", []))])
    return file.bytes[min(start, file.span_of_line(first)[0]) : end]


def _called_in_loop(program: Program, evaluated: Call, model: str) -> Call | None:
    """The first call of the model in a loop, further down in the same code, before it may train again."""
    file, scope = evaluated.file, evaluated.file.scope_of(evaluated.node).node
    for other in program.calls_in(file, scope):
        if other.node.lineno <= evaluated.node.lineno:
            continue
        text = file.text_of(other.node.func)
        if text == f"{model}.train":
            return None
        loops = [loop for loop in file.loops_around(other.node) if loop.lineno > evaluated.node.lineno]
        if text == model and loops:
            once = isinstance(loops[0].body[-1], ast.Break)
            return None if once or WANTED.search(file.text_of(loops[-1])) else other
    return None


def _may_be_off(program: Program, call: Call, depth: int) -> bool:
    """Could somebody who leads here have switched gradients off?"""
    function: UserFunction | None = call.function
    if without_gradient(call):
        return True
    if function is None:
        return b"set_grad_enabled(False" in call.file.bytes
    named = list(program.calls_named(function.name))
    if depth >= FARTHEST or not named or len(named) > FARTHEST * 2:
        return True
    if function.owner is not None and any("ightning" in name for name in function.owner.ancestry):
        return True
    return any(_may_be_off(program, caller, depth + 1) for caller in named)


def in_run(record: Record) -> Iterator[Finding]:
    """The evaluations whose losses had a graph, where no gradient was asked for by hand."""
    if record.process.all("derivative"):
        return
    trained_on = {phase.loader for phase in record.phases("train")}
    measured = [phase for phase in record.phases("eval") if _is_measurement(phase, trained_on)]
    kept = [phase for phase in measured if phase.grad]
    if kept and len(kept) == len(measured):
        yield Finding(
            message=f"{len(kept)} evaluation{'s' * (len(kept) > 1)} kept the activations of every layer for a backward "
            "pass that never came",
            site=site_of(kept[0].losses[0].get("site")),
            evidence={"evaluations": len(kept), "batches in one": max(phase.batches for phase in kept)},
            cure="put the measurement under `torch.no_grad()`",
            confidence=0.9,
        )


def _is_measurement(phase: Phase, trained_on: set[int | None]) -> bool:
    """Is it of data of its own, or of a model that was put into evaluation mode, and not of one batch only?"""
    own = phase.loader is not None and phase.loader not in trained_on
    resting = bool(phase.modes.get("of")) and not phase.modes.get("training")
    return (own or (phase.loader is None and resting)) and phase.batches > 1 and (resting or not phase.modes.get("of"))


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Switch gradients off in the function that measures."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    function = file.enclosing(node, *FUNCTIONS) if file is not None and node is not None else None
    if file is None or not isinstance(function, ast.FunctionDef):
        return
    home, _ = program.names.visible(file.scope_of(function), "torch")
    if home is not None:
        found = edits.fix("measure without gradients", file, [edits.insert_before(file, function, "@torch.no_grad()")])
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
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)

    def accuracy() -> float:
        model.eval()
        right = 0
        for rows in validation.split(64):
            right += int((model(inputs[rows]).argmax(1) == labels[rows]).sum())  # TDX805
        return right / len(validation)

    for _ in range(6):
        model.train()
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        print(f"{loss.item():.3f} {accuracy():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)

    @torch.no_grad()
    def accuracy() -> float:
        model.eval()
        right = 0
        for rows in validation.split(64):
            right += int((model(inputs[rows]).argmax(1) == labels[rows]).sum())
        return right / len(validation)

    for _ in range(6):
        model.train()
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        print(f"{loss.item():.3f} {accuracy():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)

    def accuracy() -> float:
        model.eval()
        right = 0
        for rows in validation.split(64):
            right += int((model(inputs[rows]).argmax(1) == labels[rows]).sum())
        return right / len(validation)

    for _ in range(6):
        model.train()
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            print(f"{loss.item():.3f} {accuracy():.3f}")
