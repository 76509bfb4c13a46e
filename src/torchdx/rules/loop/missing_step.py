"""A training loop lacks its step, or its backward pass: gradients without a step, or steps without gradients.

Seen as a loss that wanders around its first value while everything seems to run; no weight ever changes.

Hurts because training takes both: `backward()` puts dL/dw into `.grad`, `step()` moves w by it. Without the step the
gradients are computed and thrown away; without the backward pass the step finds none, and a parameter without a
gradient is passed over.

Helped by the missing line: `loss.backward()`, then `optimizer.step()`.

No fault when gradients are only looked at, as in an attack on the input or a saliency map; when weights or gradients
are set by hand; when the optimizer is handed to code that may step it; or when
the model was loaded and is only used.

Sources: PyTorch tutorial, "Optimizing Model Parameters"; PyTorch documentation, `torch.optim`, "Taking an optimization
step".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import Call, edits
from torchdx.source.index import word_of
from torchdx.source.reading import words
from torchdx.source.values import SCHEDULERS, Instance

if TYPE_CHECKING:
    from torchdx.record import Fact, Record
    from torchdx.source import Program, Round, SourceFile
    from torchdx.source.index import LoopNode

code, family, severity = "TDX908", "loop", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {"not-learning", "parameter-not-optimised", "gradients-not-cleared", "gradients-cleared-before-step"}
)

BY_HAND = re.compile(rb"\.grad\b|\.data\s*([-+*/]?=[^=]|\.\w+_\()|autograd\.grad")
KNOWING = words("zero_grad state_dict load_state_dict add_param_group print len id isinstance")
"""What may be done with an optimizer, or to it, without a step being hidden there."""


PASSES = 10
"""Backward passes without any step that are no trial of gradients; sick programs have 78 and more, healthy none."""

CALLS = 8
"""Calls of a layer that an optimizer holds, and that keeps its random start, in a run without any backward pass: sick
programs have 10 and more; of healthy ones none makes an optimizer, loads nothing, never steps, and uses the model."""
LOOKS, STEPS = 3, 30
"""Looks at which every parameter of an optimizer held a gradient, and steps of other optimizers, after which one that
never took a step was forgotten: exact, and enough to leave out a start at which others go first. Two looks are enough
if as many steps lie between."""


@dataclass(frozen=True)
class Gap:
    """A round that lacks a line: after which statement it belongs, or before which, and what it says."""

    message: str
    call: Call
    line: str
    before: bool = False


def in_source(program: Program) -> Iterator[Finding]:
    """Every loop that computes gradients for an optimizer and never steps it, or steps it and never computes any."""
    for gap in _gaps(program):
        yield Finding(
            message=gap.message,
            site=gap.call.site,
            cure=f"call `{gap.line}`" if gap.line else "run backward() on the loss before the step",
            confidence=0.95,
        )


def in_run(record: Record) -> Iterator[Finding]:
    """Every optimizer that took no step in a whole run, though its parameters, which no other has, got gradients."""
    if record.ended.get("stopped") or record.ended.get("exception"):
        return
    if record.ended and not record.steps:
        yield from _nothing_stepped(record)
    if record.steps < STEPS:
        return
    for fact in _unstepped(record):
        if fact["looks"] >= LOOKS or (fact["looks"] > 1 and fact.get("span", 0) >= STEPS):
            layers = [p.layer or p.name for p in record.parameters if p.id in fact["params"]]
            yield Finding(
                message=f"{fact['cls']} never took a step, in {record.steps} steps of other optimizers, though all its "
                f"{len(fact['params'])} parameters got gradients: they stay as they started",
                site=site_of(fact.get("site")),
                layer=next(iter(layers), None),
                evidence={"parameters": len(fact["params"]), "looks at their gradients": fact["looks"]},
                cure="call its step() after the backward pass of the loss that is meant for it",
                confidence=0.95,
            )


def _nothing_stepped(record: Record) -> Iterator[Finding]:
    """Every optimizer of a run in which none took a step: an error where it had what it takes to step."""
    for fact in record.process.all("untrained"):
        if fact["moved"]:
            continue  # loaded, begun anew, or moved by hand
        trained = fact["passes"] >= PASSES and fact["gradients"] > 0
        used = fact.get("calls", 0) >= CALLS and not fact["passes"] and not record.process.all("derivative")
        passes = f"{fact['passes']} backward passes" if fact["passes"] else "no backward pass"
        yield Finding(
            message=f"{fact['cls']} never took a step in this run, of {passes}: nothing was trained",
            site=site_of(fact.get("site")),
            evidence={
                "backward passes": fact["passes"],
                "parameters with a gradient": fact["gradients"],
                "calls of a layer": fact.get("calls", 0),
            },
            cure="look at the condition under which its step() is called: it never held",
            confidence=0.95 if trained else 0.85 if used else 0.7,
            severity="error" if trained else "warning" if used else "note",
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The most looks at which an optimizer that never took a step had gradients for all its parameters."""
    looks = [fact["looks"] for fact in _unstepped(record)]
    yield "LOOKS", max(looks, default=0)
    yield "STEPS", record.steps
    yield "CALLS", max((fact.get("calls", 0) for fact in record.process.all("untrained")), default=0)
    yield "PASSES", max((fact["passes"] for fact in record.process.all("untrained")), default=0)


def _unstepped(record: Record) -> Iterator[Fact]:
    """Optimizers without a step whose parameters no other steps, and nothing else changed."""
    held = frozenset().union(*(optimizer.parameter_ids for optimizer in record.optimizers))
    for fact in record.process.all("unstepped"):
        if record.ended and not fact["moved"] and held.isdisjoint(fact["params"]):
            yield fact


def _gaps(program: Program) -> Iterator[Gap]:
    told = set()
    for gap in (*_without_step(program), *_without_backward(program)):
        if gap.call.site not in told:
            told.add(gap.call.site)
            yield gap


def _without_step(program: Program) -> Iterator[Gap]:
    for round_ in program.stepless_loops:
        backwards = [event.call for event in round_.directly if event.effect == "backward" and event.certain]
        clearings = [event.call for event in round_.directly if event.effect == "zero_grad"]
        if round_.does("opaque") or len(backwards) != 1 or len(clearings) != 1 or _handles_gradients(round_):
            continue
        backward, clearing = backwards[0], clearings[0]
        made = _optimizer(clearing)
        if backward is None or clearing is None or made is None or clearing.receiver is None:
            continue
        if not _may_be_stepped(program, made):
            text = f"{clearing.receiver.text}.step()"
            message = f"this loop runs `{backward.text}` in every round, but nothing ever calls `{text}`"
            yield Gap(message, backward, text)


def _without_backward(program: Program) -> Iterator[Gap]:
    losses = {use.call.node: use.call for use in program.loss_uses}
    for step in program.calls_named("step") if losses else ():
        file, loop = step.file, next(step.file.loops_around(step.node), None)
        if loop is None or step.node.args or b".grad" in file.bytes or _optimizer(step) is None:
            continue
        scope = file.scope_of(loop).node
        computed = [losses[node] for node in file.index.calls_in[scope] if node in losses and _inside(node, loop)]
        effects = [event.effect for event in program.effects.within(file, scope, loop)] if len(computed) == 1 else []
        if effects.count("step") == 1 and "zero_grad" in effects and not {"backward", "opaque"}.intersection(effects):
            named = _name_of(computed[0])
            message = f"`{step.text}` runs in every round, but nothing calls backward(), so there is no gradient"
            yield Gap(message, step, f"{named}.backward()" if named else "", before=True)


def _optimizer(call: Call | None) -> Call | None:
    """The call that made the optimizer before the dot, if it is certainly one of torch's."""
    made = call.receiver.value if call is not None and call.receiver is not None else None
    return made.call if isinstance(made, Instance) and made.is_optimizer and made.definition is None else None


def _may_be_stepped(program: Program, made: Call) -> bool:
    """Could anything, anywhere, step this optimizer? Handed to code that is not torch's, it could."""
    names = {word_of(name) for name in _names_of(made)}
    for call in program.calls_named("step"):
        own = call.receiver
        if own is not None and (not isinstance(own.value, Instance) or own.value.call is made):
            return True
        if own is not None and isinstance(own.value, Instance) and own.value.is_optimizer:
            return True
    return not names or any(_hands_on(file, names, program) for file in program.torch_files)


def _hands_on(file: SourceFile, names: set[str], program: Program) -> bool:
    """Is something so named given to a call, returned, or put elsewhere, other than to a scheduler?"""
    for node, above in file.index.parents.items():
        word = word_of(node)
        if word not in names or isinstance(getattr(node, "ctx", None), ast.Store):
            continue
        if isinstance(above, ast.Attribute):
            if above.attr not in KNOWING:
                return True
        elif not (isinstance(above, ast.Call) and Call(program, file, above).name.startswith(SCHEDULERS)):
            return True
    return False


def _names_of(made: Call) -> Iterator[ast.Name | ast.Attribute]:
    statement = made.file.statement(made.node)
    for target in statement.targets if isinstance(statement, ast.Assign) else ():
        if isinstance(target, ast.Name | ast.Attribute):
            yield target


def _handles_gradients(round_: Round) -> bool:
    """Are gradients looked at, or weights moved, by hand?"""
    return BY_HAND.search(round_.file.bytes) is not None


def _inside(node: ast.Call, loop: LoopNode) -> bool:
    return loop.lineno <= node.lineno <= (loop.end_lineno or 0)


def _name_of(loss: Call) -> str:
    statement = loss.file.statement(loss.node)
    target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
    return target.id if isinstance(target, ast.Name) else ""


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Write the missing line."""
    for gap in _gaps(program):
        statement = gap.call.file.statement(gap.call.node)
        if gap.call.site == finding.site and statement is not None and gap.line:
            write = edits.insert_before if gap.before else edits.insert_after
            fix = edits.fix(f"call {gap.line}", gap.call.file, [write(gap.call.file, statement, gap.line)])
            if fix is not None:
                yield fix


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()  # TDX908
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
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
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    for rows in torch.arange(len(inputs)).split(64):
        optimizer.zero_grad()
        images = inputs[rows].requires_grad_()
        loss = loss_of(model(images), labels[rows])
        loss.backward()
        assert images.grad is not None
        saliency = images.grad.abs().mean()
    print(f"{saliency:.2e}")
    print(f"{loss.item():.3f}")
