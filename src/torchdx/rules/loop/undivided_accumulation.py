"""Gradients of several batches are added up for one step, and nothing divides by their number.

Seen as training that becomes unstable, or needs another learning rate, as soon as the number of batches per step, or of
the parts that a batch is cut into, is changed.

Hurts because `backward()` adds: after N batches `.grad` holds the sum of N means, N times the mean over all of their
samples. A step of SGD is then N times as long as the learning rate says, and weight decay N times weaker beside it.

Helped by `(loss / N).backward()`.

No fault when the loss is a sum over samples that is divided elsewhere, when the learning rate was chosen for the sum,
or when the gradients are clipped to a norm in any case. Adam divides by the gradient's size, so there it is a note, as
it is where gradients are clipped.

Sources: PyTorch, "Automatic Mixed Precision examples", section "Gradient accumulation"; Goyal et al., "Accurate, Large
Minibatch SGD" (2017).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.rules.loop import rounds_between
from torchdx.source import Call, Expression, edits, optimizer_of
from torchdx.source.index import last_word
from torchdx.source.losses import KINDS
from torchdx.source.ready_made import OUTPUT
from torchdx.source.values import Instance, Literal, Method, Operation, Result, Setting, literal
from torchdx.source.walks import walk

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile, TrainingLoop
    from torchdx.source.values import Value

code, family, severity = "TDX906", "loop", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"learning-rate-too-high", "exploding-gradient", "diverged"})

LOSSES = frozenset({f"torch.nn.{name}" for name in KINDS} | {f"torch.nn.functional.{kind}" for kind in KINDS.values()})


MEANS = ("torch.Tensor.mean", "torch.mean", "?.mean")


@dataclass(frozen=True)
class Accumulation:
    """A backward pass in every round, a step in every Nth."""

    loss: Expression
    backward: Call
    step: Call
    rounds: Expression
    clipped: bool


def in_source(program: Program) -> Iterator[Finding]:
    """Every accumulation of means that is not divided."""
    for found in _undivided(program):
        made = optimizer_of(found.step).value.alternatives()
        plain = all(isinstance(value, Instance) and value.is_a("torch.optim.SGD") for value in made)
        yield Finding(
            message=f"`{found.step.text}` follows the sum of {found.rounds.text} batches' gradients, each the mean of "
            f"its batch: nothing divides by {found.rounds.text}",
            site=found.backward.site,
            evidence={"step_at": str(found.step.site)},
            cure=f"`({found.loss.text} / {found.rounds.text}).backward()`",
            confidence=0.96,
            severity=None if plain and not found.clipped else "note",
        )


def _undivided(program: Program) -> Iterator[Accumulation]:
    for loop in program.training_loops:
        found = _accumulation(loop)
        if found is None or found.rounds.literal == 1 or _divides(found):
            continue
        values = found.loss.value.alternatives()
        if all(_is_mean(value) for value in values):
            yield found


def _accumulation(loop: TrainingLoop) -> Accumulation | None:
    """One backward pass in every round, or part; one step and one clearing in every Nth; and nothing in doubt."""
    if loop.does("opaque"):
        return None
    backwards, steps, clearings = loop.all("backward"), loop.all("step"), loop.all("zero_grad")
    if not len(backwards) == len(steps) == len(clearings) == 1 or loop.is_conditional(backwards[0]):
        return None
    backward, step, clearing = backwards[0].call, steps[0].call, clearings[0].call
    if backward is None or step is None or clearing is None or backward.receiver is None:
        return None
    plain = backward.method == "backward" and not _is_framework(backward)
    if not plain or steps[0].home is not loop.node:
        return None
    if backwards[0].home is loop.node:
        rounds = rounds_between(steps[0]) if _block(step) == _block(clearing) else None
    else:
        rounds = _parts(step, backwards[0].home) if clearings[0].home is loop.node else None
    if rounds is None:
        return None
    return Accumulation(_unscaled(backward.receiver), backward, step, rounds, loop.does("clip"))


def _parts(step: Call, inner: ast.AST | None) -> Expression | None:
    """The N of a loop within the step's own over a batch's N parts, or over the next N batches."""
    if not isinstance(inner, ast.For) or not any(
        node is step.file.parent(inner) for node in step.file.ancestors(step.node)
    ):
        return None
    drawn = [one for one in ast.walk(inner.iter) if isinstance(one, ast.Call)]
    for one in drawn:
        named, places = last_word(one), one.args
        if named in ("chunk", "tensor_split", "array_split") and places:
            module = isinstance(one.func, ast.Attribute) and step.file.text_of(one.func.value) in (
                "torch",
                "np",
                "numpy",
            )
            return step.at(places[int(module)]) if len(places) > module else None
    fetches = any(
        isinstance(one, ast.Call) and last_word(one) == "next" for part in inner.body for one in ast.walk(part)
    )
    ranged = len(drawn) == 1 and drawn[0] is inner.iter and last_word(drawn[0]) == "range" and len(drawn[0].args) == 1
    return step.at(drawn[0].args[0]) if ranged and (fetches or _is_cut(inner)) else None


def _is_cut(inner: ast.For) -> bool:
    """Do the rounds of a loop cut their part of the samples each, at places that follow from the round's number?"""
    places = {one.id for one in ast.walk(inner.target) if isinstance(one, ast.Name)}
    for part in inner.body:
        for one in ast.walk(part):
            if isinstance(one, ast.Assign) and _holds(one.value, places):
                places |= {name.id for target in one.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
            first = one.slice if isinstance(one, ast.Subscript) else None
            if isinstance(first, ast.Tuple) and first.elts:  # of the samples, not of the moments of each
                first = first.elts[0]
            if isinstance(first, ast.Slice) and all(end and _holds(end, places) for end in (first.lower, first.upper)):
                return True
    return False


def _holds(node: ast.expr, names: set[str]) -> bool:
    return any(isinstance(one, ast.Name) and one.id in names for one in ast.walk(node))


def _block(call: Call) -> int:
    statement = call.file.statement(call.node)
    return id(edits.block_of(call.file, statement)) if statement is not None else 0


def _is_framework(backward: Call) -> bool:
    """`accelerator.backward(loss)` and its like divide by themselves."""
    return bool(backward.node.args)


def _unscaled(loss: Expression) -> Expression:
    """The loss inside `scaler.scale(loss)`."""
    if isinstance(loss.node, ast.Call) and isinstance(loss.node.func, ast.Attribute) and loss.node.func.attr == "scale":
        return loss.at(loss.node.args[0]) if loss.node.args else loss
    return loss


def _divides(found: Accumulation) -> bool:
    """Is anything in the file divided by the number of rounds, or a gradient or a learning rate made to fit?"""
    word = re.escape(re.split(r"\W", found.rounds.text)[-1] or found.rounds.text).encode()
    pattern = rb"((?<!/)/=?(?!/)|div_?\()\s*(float\()?[\w.\[\]'\"]*" + word + rb"|1(\.0?)?\s*/.*" + word
    pattern += rb"|\blr\b.*" + word + rb"|" + word + rb".*\blr\b|\.grad\b[^\n]*(/|\*|div|mul)"
    return any(re.search(pattern, file.bytes) for file in {found.backward.file, found.step.file})


@walk(False)
def _is_mean(value: Value) -> bool:
    """Is it certainly a mean over the samples of a batch, or a sum that one is in, as of a loss and a penalty?"""
    if isinstance(value, Operation) and value.operator == "Add":
        return any(all(map(_is_mean, side.alternatives())) for side in value.values())
    if isinstance(value, Operation) and value.operator == "Mult":  # a weight times a mean
        sides = [side for side in value.values() if not isinstance(side, (Literal, Setting))]
        return len(sides) == 1 and all(map(_is_mean, sides[0].alternatives()))
    if isinstance(value, Result) and value.dotted in MEANS and value.module is None:
        return not value.call.gives("dim") and (value.call.receiver is None or not value.call.node.args)
    if isinstance(value, Method):  # the loss that a model of transformers' computes from the labels
        return value.method == "loss" and value.receiver.name == OUTPUT
    if not isinstance(value, Result) or value.dotted not in LOSSES:
        return False
    made = value.module.call if value.module is not None else value.call
    if made is None or made.gives("size_average") or made.gives("reduce") or not made.is_certain:
        return False
    given = made.argument(None, "reduction")
    return given is None or literal(given.value) == "mean"


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Divide each loss by the number of rounds."""
    for found in _undivided(program):
        if found.backward.site == finding.site and found.backward.function is found.step.function:
            file: SourceFile = found.loss.file
            text = f"{found.loss.text} / {found.rounds.text}"
            inside = found.backward.receiver is not None and found.loss.node is not found.backward.receiver.node
            change = edits.replace(file, found.loss.node, text if inside else f"({text})")
            fix = edits.fix("divide each loss by the number of batches per step", file, [change])
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
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    loss_of = nn.CrossEntropyLoss()
    together = 4
    for _ in range(10):
        for count, rows in enumerate(torch.randperm(len(inputs)).split(16)):
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()  # TDX906
            if (count + 1) % together == 0:
                optimizer.step()
                optimizer.zero_grad()
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
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    loss_of = nn.CrossEntropyLoss()
    together = 4
    for _ in range(10):
        for count, rows in enumerate(torch.randperm(len(inputs)).split(16)):
            loss = loss_of(model(inputs[rows]), labels[rows]) / together
            loss.backward()
            if (count + 1) % together == 0:
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
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    total = nn.CrossEntropyLoss(reduction="sum")
    together = 4
    for _ in range(10):
        for count, rows in enumerate(torch.randperm(len(inputs)).split(16)):
            loss = total(model(inputs[rows]), labels[rows])
            loss.backward()
            if (count + 1) % together == 0:
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.grad /= 64
                optimizer.step()
                optimizer.zero_grad()
    print(f"{loss.item():.3f}")
