"""Gradients are cleared between backward() and step(), so no step has a gradient to follow.

Seen as a loss that stays where it began while everything seems to run; no parameter ever changes.

Hurts because `backward()` leaves its result in `.grad`, where `step()` looks for it. After `zero_grad()` there is
nothing: a parameter without a gradient is passed over, and the weights of the last round are those of the first.

Where a step is taken in every Nth round alone, and the gradients are cleared in every one, the step finds those of the
last: the others' work is thrown away, and the batch is N times as small as it was meant to be.

Helped by `zero_grad()` after `step()`, or before `backward()`; where gradients are added up, in the step's own branch.

No fault when another `backward()` stands between, when what is cleared is another model's or optimizer's, as between
the two halves of an adversarial training, or when gradients are put back by hand before the step; when a pass is made
for something else than the step, at another line, or the weights are moved in between.

Sources: PyTorch documentation, `torch.optim.Optimizer.zero_grad`; PyTorch tutorial, "Zeroing out gradients in PyTorch".
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.rules.loop import lost_passes, rounds_between, zeroed_looks
from torchdx.source import edits, optimizer_of
from torchdx.source.index import last_word
from torchdx.source.phases import is_same
from torchdx.source.reading import words
from torchdx.source.values import Instance, Result

if TYPE_CHECKING:
    from torchdx.record import Optimizer, Record
    from torchdx.source import Call, Event, Program, SourceFile, TrainingLoop, UserFunction
    from torchdx.source.expressions import Expression

code, family, severity = "TDX902", "loop", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        "not-learning",
        "learning-rate-too-low",
        "validation-gap",
        "parameter-never-reached",
        "optimizer-of-other-parameters",
        "clipped-nearly-always",
    }
)

JUDGED, LOOKS = 6, 3
"""Steps that must all have been without a gradient, and how many of these were looked at, at the least, with all that
came back to the layers: an exact fact of each, and a healthy run has none."""

STEPS = 5
"""Steps each of which found the gradients of its last pass alone; an exact fact of each, and no healthy run has one."""

HARMLESS = words(
    "print info debug log float int len item detach cpu mean sum max min abs append format parameters named_parameters "
    "clip_grad_norm_ clip_grad_value_ clip_grad_norm unscale_ set_description set_postfix isnan isfinite"
)
"""What may be called between clearing and step without giving any parameter a gradient."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every step of a training loop that follows right upon the clearing of its gradients, or on too many of them."""
    told = set()
    yield from (_of_each_round(clearing, step) for clearing, step in _cleared_each_round(program))
    for loop in program.training_loops:
        steps = [(event.call, _stepped(event)) for event in loop.all("step")]
        for event in loop.all("zero_grad"):
            found = _step_after(loop, event)
            if event.call is None or found is None or event.call.site in told:
                continue
            optimizer = optimizer_of(found)
            if sum(text == optimizer.text for _, text in steps) == 1:
                told.add(event.call.site)
                known = isinstance(optimizer.value, Instance) and optimizer.value.is_optimizer
                yield Finding(
                    message=f"`{event.call.text}` stands between backward() and `{found.text}`, so the step finds no "
                    "gradients and changes nothing",
                    site=event.call.site,
                    evidence={"step_at": str(found.site)},
                    cure="clear the gradients after the step, or before backward()",
                    confidence=0.98 if known else 0.9,
                )


def _cleared_each_round(program: Program) -> Iterator[tuple[Call, Call]]:
    """Every clearing and step of loops that run backward and clear in all rounds, and step in every Nth."""
    for loop in program.training_loops:
        backwards, steps, clearings = loop.all("backward"), loop.all("step"), loop.all("zero_grad")
        if not len(backwards) == len(steps) == len(clearings) == 1 or loop.does("opaque"):
            continue
        step, clearing = steps[0].call, clearings[0].call
        always = not loop.is_conditional(backwards[0]) and not loop.is_conditional(clearings[0])
        at_home = backwards[0].home is steps[0].home is clearings[0].home is loop.node
        rounds = rounds_between(steps[0])
        if step is None or clearing is None or rounds is None or rounds.literal == 1 or not (always and at_home):
            continue
        plain = backwards[0].call is not None and not backwards[0].call.node.args  # `accelerator.backward(loss)`
        if plain and clearing.function is step.function and _clears(clearing, optimizer_of(step)):
            yield clearing, step


def _of_each_round(clearing: Call, step: Call) -> Finding:
    return Finding(
        message=f"`{clearing.text}` clears the gradients in every round, and `{step.text}` is called in some only: it "
        "finds the gradients of the last batch, those of the others are thrown away",
        site=clearing.site,
        evidence={"step_at": str(step.site)},
        cure="clear the gradients after the step, in its own branch",
        confidence=0.95,
    )


def in_run(record: Record) -> Iterator[Finding]:
    """Every optimizer that never held a gradient, though backward brought one to its layers in the very same steps.

    Or only that of the last pass, where several came before each step.
    """
    for optimizer in record.optimizers:
        lost = lost_passes(record, optimizer)
        if len(lost) >= STEPS and all(count == passes - 1 for count, passes in lost):
            yield Finding(
                message=f"each step of {optimizer.cls} comes after {lost[-1][1]} backward passes, and the gradients of "
                f"{lost[-1][0]} of them are cleared before it: only the last one counts",
                site=optimizer.site,
                evidence={"steps": len(lost), "passes a step": lost[-1][1], "cleared in vain": lost[-1][0]},
                cure="clear the gradients after the step, and not before each pass",
                confidence=0.97,
            )
    for optimizer in record.optimizers:
        steps = [fact for fact in record.process.all("step") if fact.get("optimizer") == optimizer.id]
        clipped = any(clip.bound == 0 for clip in record.clips)  # clipped to nothing, not cleared
        zeroed = [] if clipped else zeroed_looks(record, optimizer)
        kept = any(fact.get("cleared") is not None for fact in steps) or _held_some(record, optimizer)
        if kept and len(zeroed) < LOOKS:
            continue  # gradients were there right after a step, or right before one
        reached, rounds = _reached(record, optimizer).union(zeroed), _rounds(record)
        bare = [fact["n"] for fact in steps if fact.get("looked") and rounds.get(fact["n"]) in reached]
        glances = [fact for fact in record.process.all("unreached") if fact.get("optimizer") == optimizer.id]
        still = sum(bool(fact.get("whole")) and fact.get("moved") is False for fact in glances)
        if len(bare) >= LOOKS and len(bare) + still >= JUDGED and all(fact.get("whole") for fact in glances):
            yield Finding(
                message=f"at all {len(bare)} looked-at steps of {optimizer.cls} backward() brought gradients to "
                "its layers and none was left when it stepped, so nothing changed",
                site=optimizer.site,
                evidence={"steps looked at": len(bare) + still, "with a gradient": 0},
                cure="clear the gradients after the step, or before backward()",
                confidence=0.95,
            )


def _held_some(record: Record, optimizer: Optimizer) -> bool:
    """Did, at any look, a parameter of this optimizer's hold a gradient right before its step?"""
    trainable = {p.id for p in record.parameters if p.trainable and p.id in optimizer.parameter_ids}
    looks = (look for look in record.process.all("gradients") if look.get("optimizer") == optimizer.id)
    return any(not trainable.issubset(look.get("missing", ())) for look in looks)


def _reached(record: Record, optimizer: Optimizer) -> set[int]:
    """The steps at which a gradient came back to a layer whose trainable parameters this optimizer holds."""
    held = optimizer.parameter_ids
    layers = [la for la in record.layers if any(p.id in held and p.trainable for p in la.parameters)]
    return {step for layer in layers for step, measures in layer.looks if (measures.get("gradient") or 0.0) > 0.0}


def _rounds(record: Record) -> dict[int, int]:
    """Of each step told of, the one that its backward pass came before: its own, or another optimizer's just before."""
    rounds: dict[int, int] = {}
    for fact in record.process.all("step"):
        own, before = fact["n"], rounds.get(fact["n"] - 1)
        if fact.get("backwards"):
            rounds[own] = own
        elif before is not None:
            rounds[own] = before
    return rounds


def _step_after(loop: TrainingLoop, cleared: Event) -> Call | None:
    """The step, in the same block, that finds what was just cleared; None where a gradient might come in between."""
    computes = any(event.home is cleared.home and event.certain for event in loop.all("backward"))
    if cleared.call is None or not computes:
        return None
    for event in loop.all("step"):
        call = event.call
        if call is None or not _stepped(event) or event.through is not cleared.through:
            continue
        optimizer = optimizer_of(call)
        if cleared.call.function is call.function:
            place = cleared.call if _clears(cleared.call, optimizer) else None
        else:
            place = _helper_that_clears(cleared.call, call, optimizer.text)
        between = _between(call.file, place.node, call.node) if place is not None and place.file is call.file else None
        if between is not None and all(_leaves(statement, optimizer.text) for statement in between):
            return call
    return None


def _helper_that_clears(cleared: Call, step: Call, optimizer: str) -> Call | None:
    """The call, in the function that steps, of one that certainly clears this optimizer and does nothing else."""
    inner, outer = cleared.function, step.function
    if inner is None or outer is None or isinstance(inner.node, ast.Lambda):
        return None
    statement = cleared.file.statement(cleared.node)
    rest = [other for other in inner.node.body if other is not statement]
    if len(rest) == len(inner.node.body) or not all(_leaves(other, "") for other in rest):
        return None
    calls = [call for call in outer.calls() if call.method == inner.name]
    if len(calls) != 1 or step.program.effects.targets(calls[0]) != (inner,) or _is_overridden(inner):
        return None
    return calls[0] if _in_words_of(calls[0], inner, cleared.receiver) == optimizer else None


def _in_words_of(caller: Call, function: UserFunction, name: Expression | None) -> str:
    """What a function's own object or argument is called where the function is called; empty if that is not plain."""
    root, dot, rest = name.text.partition(".") if name is not None else ("", "", "")
    given = caller.receiver if root == function.self_name else None
    if root in function.parameters and root != function.self_name:
        given = caller.argument(function.place_of(root), root)
    elif given is None and function.owner is None and caller.file is function.file:
        return root + dot + rest  # seen by both from outside
    return given.text + dot + rest if given is not None and isinstance(given.node, (ast.Name, ast.Attribute)) else ""


def _is_overridden(method: UserFunction) -> bool:
    """Does a class derived from the method's put another in its place?"""
    owner, name = method.owner, method.name
    return owner is not None and any(
        owner in cls.lineage and cls.method(name) is not method for cls in method.program.classes()
    )


def _stepped(event: Event) -> str:
    """The optimizer of a step as written; empty for a step that is given a closure."""
    call = event.call
    if call is None or call.receiver is None:
        return ""
    optimizer = optimizer_of(call)
    return optimizer.text if optimizer is not call.receiver or not (call.node.args or call.node.keywords) else ""


def _between(file: SourceFile, first: ast.Call, last: ast.Call) -> list[ast.stmt] | None:
    """The statements between two that stand in one block, each a call alone; None if they do not."""
    one, other = file.parent(first), file.parent(last)
    above = file.parent(one) if isinstance(one, ast.Expr) and isinstance(other, ast.Expr) else None
    for name in ("body", "orelse", "finalbody"):
        block = getattr(above, name, None)
        if isinstance(block, list) and one in block and other in block:
            return block[block.index(one) + 1 : block.index(other)] if block.index(one) < block.index(other) else None
    return None


def _clears(call: Call, optimizer: Expression) -> bool:
    """Is what is cleared the optimizer itself, or the module all of whose parameters it was made of?"""
    receiver, made = call.receiver, optimizer.value
    if receiver is None or receiver.text == optimizer.text:
        return receiver is not None and isinstance(receiver.node, (ast.Name, ast.Attribute))
    held = made.call.argument_value(0, "params") if isinstance(made, Instance) and made.call is not None else None
    if not isinstance(held, Result) or held.name != "torch.nn.Module.parameters":
        return False
    model, own = receiver.value, held.given
    return isinstance(model, Instance) and isinstance(own, Instance) and model.is_module and is_same(model, own)


def _leaves(statement: ast.stmt, optimizer: str) -> bool:
    """Does a statement certainly give no parameter a gradient, and the optimizer's name no other meaning?"""
    root = optimizer.partition(".")[0]
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and last_word(node) not in HARMLESS:
            return False
        if isinstance(node, ast.Attribute) and (node.attr == "grad" or isinstance(node.ctx, ast.Store)):
            return False
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == root:
            return False
    return True


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Clear right after the step instead."""
    yield from _moved(program, finding)
    for loop in program.training_loops:
        for event in loop.all("zero_grad"):
            step = _step_after(loop, event) if event.call is not None and event.call.site == finding.site else None
            if step is not None and event.call is not None and event.call.function is step.function:
                file = step.file
                one, other = file.statement(event.call.node), file.statement(step.node)
                assert one is not None
                assert other is not None
                moved = [edits.delete_statement(file, one), edits.insert_after(file, other, event.call.text)]
                together = file.parent(one) is file.parent(other)  # and so neither is made without the other
                found = edits.fix("clear the gradients after the step", file, moved, safe=together)
                if found is not None:
                    yield found
                return


def _moved(program: Program, finding: Finding) -> Iterator[Fix]:
    """The clearing of every round, put into the step's own branch."""
    for clearing, step in _cleared_each_round(program):
        one, other = clearing.file.statement(clearing.node), step.file.statement(step.node)
        if clearing.site != finding.site or one is None or other is None:
            continue
        changes = [
            edits.delete_statement(clearing.file, one),
            edits.insert_after(clearing.file, other, clearing.text),
        ]
        fix = edits.fix("clear the gradients after the step alone", clearing.file, changes)
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
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.zero_grad()  # TDX902
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
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    body, head = nn.Sequential(nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, 10)
    for_body = torch.optim.Adam(body.parameters(), lr=0.003)
    for_head = torch.optim.Adam(head.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            loss_of(head(body(inputs[rows])), labels[rows]).backward()
            head.zero_grad()
            for_body.step()
            body.zero_grad()
            loss = loss_of(head(body(inputs[rows])), labels[rows])
            loss.backward()
            kept = [parameter.grad for parameter in head.parameters()]
            for_head.zero_grad()
            for parameter, gradient in zip(head.parameters(), kept, strict=True):
                parameter.grad = gradient
            for_head.step()
            for_body.zero_grad()
    print(f"{loss.item():.3f}")
