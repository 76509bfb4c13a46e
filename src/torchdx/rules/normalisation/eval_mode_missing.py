"""A model with dropout or batch normalisation is measured while it is still in training mode.

Seen as validation results that are worse than they need be, differ when the same data are measured twice, and depend
on the batch size and on which samples happen to share a batch.

Hurts because in training mode dropout still zeroes units at random, and batch normalisation still uses the statistics
of the batch at hand; worse, each measurement moves its running mean and variance towards the validation data: r <- (1
- m) r + m b. `torch.no_grad()` changes none of this; it only saves memory.

Helped by `model.eval()` before measuring, and `model.train()` before training goes on.

No fault when the randomness is wanted (Monte-Carlo dropout, pictures drawn from noise), or statistics are being
gathered on purpose.

Sources: PyTorch documentation, "Autograd mechanics: evaluation mode"; S. Ioffe and C. Szegedy, arXiv 1502.03167;
N. Srivastava et al., "Dropout", JMLR 15 (2014).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import edits
from torchdx.source.models import Model
from torchdx.source.phases import is_trained
from torchdx.source.reading import words

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Call, Event, Program, UserFunction
    from torchdx.source.file import SourceFile
    from torchdx.source.loops import Evaluation

code, family, severity = "TDX401", "normalisation", "error"
needs = frozenset({"phase"})
explains = frozenset({"validation-gap"})

ON_PURPOSE = re.compile(r"mc_|monte|carlo|bayes|uncertain|calibrat|update_bn|stochastic|warm", re.IGNORECASE)
NOISE = words("randn rand randn_like rand_like normal_ uniform_ sample rsample normal")
FARTHEST = 4


def in_source(program: Program) -> Iterator[Finding]:
    """Every measurement of a model with such layers that no `eval()` comes before, however far up the calls."""
    told: set[tuple[str, int | None]] = set()
    for evaluation in program.evaluations:
        call, function = evaluation.call, evaluation.call.function
        key = (call.file.path, id(function.node) if function is not None else None)
        if key in told or not Model(evaluation.model).changes_with_mode:
            continue
        if ON_PURPOSE.search(f"{call.text} {function.name if function else ''}"):
            continue
        if evaluation.model.call is None or _might_be_in_eval(program, evaluation):
            continue
        if not is_trained(program, evaluation.model) or _is_drawn(call):
            continue
        told.add(key)
        yield Finding(
            message=f"`{call.text[:40]}` measures a model with dropout or batch normalisation in training mode: "
            "no eval() comes before it",
            site=call.site,
            layer=Model(evaluation.model).name,
            cure="call `.eval()` on the model before measuring, and `.train()` before training goes on",
            confidence=0.9,
        )


def _is_drawn(call: Call) -> bool:
    """Is the model a generator that is fed noise? Its batch statistics are commonly part of what it draws."""
    values = [value for argument in call.arguments() for value in argument.value.alternatives()]
    return any(value.name.rpartition(".")[2] in NOISE for value in values)


def _might_be_in_eval(program: Program, evaluation: Evaluation) -> bool:
    """Is there an `eval()`, or something that could hide one, in the code that leads to the call?"""
    call, made = evaluation.call, evaluation.model.call
    assert made is not None
    if call.function is None and b".eval(" in call.file.bytes:
        return True
    return _in_chain(program, call, made, 0) or (made.function is not None and _evaluates(program, made.function))


def _in_chain(program: Program, call: Call, made: Call, depth: int) -> bool:
    """Up the calls from the measurement to where the model is made, in training mode."""
    function = call.function
    if function is None:
        scope = call.file.module_scope.node
        return any(event.effect == "eval" for event in program.effects.within(call.file, scope))
    if depth > FARTHEST or _evaluates(program, function):
        return True
    if function is made.function:
        return False
    callers = program.callers(function)
    if not callers:
        return bool(set(function.parameters) - {function.self_name}) or function.owner is not None
    return any(_in_chain(program, caller, made, depth + 1) for caller in callers)


def _evaluates(program: Program, function: UserFunction) -> bool:
    if any(event.effect == "eval" and not _restores(event) for event in program.effects.of(function)):
        return True
    return function.owner is not None and b".eval(" in function.file.bytes


def in_run(record: Record) -> Iterator[Finding]:
    """An evaluation, on data of its own, during which everything that a mode changes was in training mode."""
    if len({layer.model for layer in record.layers if layer.parameters}) != 1 or not _matters(record):
        return
    trained_on = {phase.loader for phase in record.phases("train")}
    batches = {loader.id: loader.batches for loader in record.loaders}
    measured = [phase for phase in record.phases("eval") if phase.loader is not None and phase.loader not in trained_on]
    wrong = [
        phase
        for phase in measured
        if phase.modes.get("of") and phase.modes.get("training") == phase.modes["of"]
        if phase.batches <= (batches.get(phase.loader or 0) or 0)
    ]
    if wrong:
        yield Finding(
            message=f"{len(wrong)} of {len(measured)} evaluations ran with all {wrong[0].modes['of']} layers of "
            "dropout or batch normalisation in training mode",
            site=site_of(wrong[0].losses[0].get("site")),
            evidence={"evaluations": len(measured), "in training mode": len(wrong)},
            cure="call `.eval()` on the model before measuring, and `.train()` before training goes on",
            confidence=0.9,
        )


def _restores(event: Event) -> bool:
    """Is it a `model.train(was)` that gives the mode back which was read before?"""
    mode = event.call.argument_value(0, "mode") if event.call is not None and event.call.method == "train" else None
    return mode is not None and mode.name.endswith(".training")


def _matters(record: Record) -> bool:
    """Is there a dropout that drops, or a batch norm that keeps statistics?"""
    return any(
        ("Dropout" in layer.cls and layer.config.get("p", 0) > 0)
        or ("BatchNorm" in layer.cls and layer.config.get("track_running_stats", True))
        for layer in record.layers
    )


def _model_at(program: Program, file: SourceFile, node: ast.Call) -> ast.expr | None:
    """What the model is called there: by this call, or by another that measures in the same function."""
    here = [evaluation.call.node for evaluation in program.evaluations if evaluation.call.file is file]
    around = file.enclosing(node, ast.FunctionDef)
    inside = [call for call in here if file.enclosing(call, ast.FunctionDef) is around]
    return next((call.func for call in (*(call for call in here if call is node), *inside)), None)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Put the model into evaluation mode right before, and back into training mode right after."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    model = _model_at(program, file, node) if file is not None and isinstance(node, ast.Call) else None
    if file is None or node is None or not isinstance(model, (ast.Name, ast.Attribute)):
        return
    block = file.enclosing(node, ast.With)
    statement = block if isinstance(block, ast.With) else file.statement(node)
    name = file.text_of(model)
    if statement is not None and not isinstance(statement, ast.Return):
        changes = [
            edits.insert_before(file, statement, f"{name}.eval()"),
            edits.insert_after(file, statement, f"{name}.train()"),
        ]
        found = edits.fix("measure in evaluation mode", file, changes)
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
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            right = (model(inputs[validation]).argmax(1) == labels[validation]).float().mean()  # TDX401
        print(f"{loss.item():.3f} {right.item():.3f}")


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
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        model.train()
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = (model(inputs[validation]).argmax(1) == labels[validation]).float().mean()
        print(f"{loss.item():.3f} {right.item():.3f}")
