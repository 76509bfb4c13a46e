"""A model is put into evaluation mode in the course of training and never put back, so all later rounds train in it.

Seen as a first epoch unlike all others: from the second on dropout is off, batch normalisation learns no statistics,
and the training loss drops at once while validation gets worse.

Hurts because `eval()` stays in force until `train()`. Without dropout the model overfits as it would if it had none;
batch normalisation goes on with the running mean and variance of the first round, r, while the weights that they
describe move away from it: (x - r) / sqrt(v + eps) is no normalisation any more, and may diverge.

Helped by `model.train()` at the start of each round, or after each measurement.

No fault when training is over after the measurement, when each round makes a new model, or when the model has neither
dropout nor batch normalisation.

Sources: PyTorch documentation, `torch.nn.Module.train`, and "Autograd mechanics: evaluation mode".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.effects import MOST_EVENTS
from torchdx.source.expressions import Call
from torchdx.source.models import Model
from torchdx.source.phases import goes_on_after, is_same, optimizes
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.record import Layer, Record
    from torchdx.source import Event, Program
    from torchdx.source.index import LoopNode

code, family, severity = "TDX406", "normalisation", "error"
needs = frozenset({"modes", "step"})
explains = frozenset({"validation-gap"})

FARTHEST = 3
RESTORES = re.compile(r"train|mode|fit", re.IGNORECASE)
AT_THE_END = re.compile(r"len\(|last|final|done|end|per_epoch|n(um)?_(batch|iter|step|epoch)|total|\bmax", re.I)


@dataclass(frozen=True, eq=False)
class Round:
    """The innermost loop that trains around an `eval()`: `through` is the call, in the loop, that leads to it."""

    loop: LoopNode
    through: Call
    events: tuple[Event, ...]


def in_source(program: Program) -> Iterator[Finding]:
    """Every `eval()` behind a step of a loop's round, with no `train()` anywhere in the round."""
    for call in program.calls_named("eval"):
        if call.receiver is None or call.node.args or not isinstance(call.receiver.node, (ast.Name, ast.Attribute)):
            continue
        model = call.receiver.value
        if not isinstance(model, Instance) or not model.is_module or not Model(model).changes_with_mode:
            continue
        found = next(_rounds(program, call, call, 0), None)
        if found is not None and _is_left_so(program, found, call, model):
            where = found.through.file.site(found.loop).seen_from(call.file.path)
            yield Finding(
                message=f"`{call.text}` is not undone in the loop at {where}: in every round after it, the model "
                "trains in evaluation mode",
                site=call.site,
                layer=Model(model).name,
                evidence={"loop_at": str(found.through.file.site(found.loop))},
                cure="call `.train()` on the model at the start of each round",
                confidence=0.95,
            )


def _rounds(program: Program, call: Call, inner: Call, depth: int) -> Iterator[Round]:
    """The loops around the call, or around the calls that lead to it, that train; the innermost first."""
    file = inner.file
    for loop in file.loops_around(inner.node):
        events = tuple(program.effects.within(file, file.scope_of(loop).node, loop))
        does = {event.effect for event in events}
        if "step" in does and "backward" in does:
            yield Round(loop, inner, events)
    callers = program.callers(inner.function) if inner.function is not None and depth < FARTHEST else []
    for caller in callers if len(callers) == 1 else ():
        yield from _rounds(program, call, caller, depth + 1)


def _is_left_so(program: Program, found: Round, call: Call, model: Instance) -> bool:
    """Does the next round certainly train this very model, with nothing in between that could put it back?"""
    file, events = found.through.file, found.events
    if len(events) >= MOST_EVENTS or not goes_on_after(file, found.through.node, found.loop):
        return False
    if not goes_on_after(call.file, call.node, found.loop) or _is_made_in(program, found, model):
        return False
    if _may_be_the_end(found):
        return False
    for event in events:
        word = event.call.method if event.call is not None else ""
        if event.effect == "train" or word == "train" or (event.effect == "opaque" and RESTORES.search(word)):
            return False
    steps = [event for event in events if event.effect == "step" and event.call is not None]
    places = [place for place, event in enumerate(events) if event.effect == "eval" and _is_call(event, call)]
    own = [
        place
        for place, event in enumerate(events)
        if event in steps and event.call is not None and event.call.receiver is not None
        if optimizes(event.call.receiver.value, model)
    ]
    return bool(own and places) and own[0] < places[0]


def _may_be_the_end(found: Round) -> bool:
    """Does it stand under a test that may hold only in the last round, or only once?"""
    file, node = found.through.file, found.through.node
    for test in file.guards(node):
        if test is getattr(found.loop, "test", None) or found.loop not in file.ancestors(test):
            break
        text = file.text_of(test)
        if AT_THE_END.search(text) or ("==" in text and "%" not in text):
            return True
    return False


def _is_call(event: Event, call: Call) -> bool:
    return event.call is not None and event.call.node is call.node


def _is_made_in(program: Program, found: Round, model: Instance) -> bool:
    """Does each round make a new model?"""
    made, loop, file = model.call, found.loop, found.through.file
    if made is None:
        return True
    if made.file is file and loop.lineno <= made.node.lineno <= (loop.end_lineno or 0):
        return True
    calls = [node for node in file.index.calls_in.get(file.scope_of(loop).node, ()) if loop.lineno <= node.lineno]
    inside = [Call(program, file, node) for node in calls if node.lineno <= (loop.end_lineno or 0)]
    return made.function in {function for one in inside for function in program.effects.targets(one)}


def in_run(record: Record) -> Iterator[Finding]:
    """Every model whose layers all went from training into evaluation mode once, for good, and that trained on."""
    seen: dict[int, list[tuple[int, int, int, int]]] = {}
    for fact in record.process.all("modes"):
        for model, (training, of) in fact["models"].items():
            seen.setdefault(int(model), []).append((fact["step"], training, of, fact["touched"]))
    for model, changes in seen.items():
        before, after = changes[0], changes[-1]
        off = next((change[0] for change in changes if not change[1]), 0)
        settled = before[1] == before[2] == after[2] and all(not one[1] for one in changes if one[0] >= off)
        untouched = all(one[3] == 0 for one in changes if one[0] <= off)
        if off > 1 and settled and untouched and _goes_on(record, model, off):
            layers = [layer for layer in record.layers if layer.model == model and _differs(layer)]
            if layers:
                yield Finding(
                    message=f"from step {off} on the model is trained in evaluation mode: {_named(layers)} went "
                    "into it then, and stayed there",
                    site=layers[0].site,
                    layer=layers[0].name,
                    evidence={"first step in evaluation mode": off, "steps": record.steps},
                    cure="call `.train()` on the model at the start of each round",
                    confidence=0.95,
                )


def _goes_on(record: Record, model: int, off: int) -> bool:
    """Does an optimizer that stepped its parameters before step them after it, too, in one and the same training?"""
    own = {p.id for p in record.parameters if p.model == model and p.trainable}
    for optimizer in record.optimizers:
        if own & optimizer.parameter_ids:
            steps = [fact["n"] for fact in record.process.all("step") if fact.get("optimizer") == optimizer.id]
            if steps and min(steps) < off < max(steps):
                return record.latest_start < off - 1
    return False


def _differs(layer: Layer) -> bool:
    """Does it do another thing in evaluation mode?"""
    dropout = "Dropout" in layer.cls and layer.config.get("p", 0) > 0
    return dropout or ("BatchNorm" in layer.cls and layer.config.get("track_running_stats", True) is True)


def _named(layers: list[Layer]) -> str:
    return f"`{layers[0].name}`" if len(layers) == 1 else f"its {len(layers)} layers of dropout or batch normalisation"


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Put the model back into training mode at the start of each round, where its name is known there."""
    for call in program.calls_named("eval"):
        if call.site != finding.site or call.receiver is None:
            continue
        found = next(_rounds(program, call, call, 0), None)
        if found is None:
            continue
        name = call.receiver.text if found.through is call else _name_there(found.through, call.receiver.value)
        if name:
            change = edits.insert_before(found.through.file, found.loop.body[0], f"{name}.train()")
            fixed = edits.fix("train in training mode", found.through.file, [change])
            if fixed is not None:
                yield fixed


def _name_there(through: Call, model: object) -> str:
    """What the model is called where it is handed to the function that measures it."""
    named = [a for a in through.arguments() if isinstance(a.node, (ast.Name, ast.Attribute))]
    return next((a.text for a in named if isinstance(model, Instance) and is_same(a.value, model)), "")


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
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        model.eval()  # TDX406
        with torch.no_grad():
            right = (model(inputs[validation]).argmax(1) == labels[validation]).float().mean()
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
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
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


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    def scored(net: nn.Module, rows: torch.Tensor) -> float:
        was = net.training
        net.eval()
        with torch.no_grad():
            right: float = (net(inputs[rows]).argmax(1) == labels[rows]).float().mean().item()
        net.train(was)
        return right

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    for rate in (0.001, 0.003):
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for epoch in range(6):
            for rows in training[torch.randperm(len(training))].split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
            print(f"{epoch} {loss.item():.3f} {scored(model, validation):.3f}")
        model.eval()  # this one's training is over
        with torch.no_grad():
            print((model(inputs[validation]).argmax(1) == labels[validation]).float().mean())
