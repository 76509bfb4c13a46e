"""One model is trained through all folds of a cross-validation, and is tested on what it has learnt from.

Seen as scores that rise from fold to fold, up to nearly perfect ones, and as a first training loss of the later folds
that is where the last fold ended.

Hurts because the held-out part of fold k was training data of folds 1 to k - 1: after the first, no score is of data
that are new to the model, and their mean says nothing about any.

Helped by making the model, and its optimizer, inside the loop over folds; or by `load_state_dict` of a copy of its
first weights at the start of each.

No fault when the weights are reset in each round, when each round works on a copy, or when the model is only measured.

Sources: T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning" (2009), 7.10; scikit-learn
user guide, "Cross-validation: evaluating estimator performance".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.source import optimizer_of
from torchdx.source.index import last_word
from torchdx.source.phases import is_same
from torchdx.source.reading import words
from torchdx.source.values import Argument, Instance, Result

if TYPE_CHECKING:
    from torchdx.source import Call, Event, Expression, Program, SourceFile
    from torchdx.source.values import Value

code, family, severity = "TDX806", "generalisation", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset({"overfitting"})

FOLDS = words(
    "KFold StratifiedKFold GroupKFold StratifiedGroupKFold RepeatedKFold RepeatedStratifiedKFold ShuffleSplit "
    "StratifiedShuffleSplit GroupShuffleSplit LeaveOneOut LeaveOneGroupOut LeavePOut"
)
"""Splitters of scikit-learn whose parts are tested on after others were trained on them; time goes on in the others."""

RESETS = re.compile(rb"load_state_dict|deepcopy|\bcopy\.copy\(|reset|\.apply\(|clone|re_?init|init_weights|set_weights")
"""Words that a file has which takes a model back to its start."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every loop over folds that trains the one model which was made before it."""
    for call in program.calls_named("split"):
        loop = _loop_over(call)
        if loop is None or not _is_of_folds(call) or RESETS.search(call.file.bytes):
            continue
        scope = call.file.scope_of(loop).node
        steps = [event for event in program.effects.within(call.file, scope, loop) if event.effect == "step"]
        kept = _models(program, call.file, loop) if steps else None
        if kept is not None and all(_trains(step, kept) for step in steps):
            yield Finding(
                message=f"`{kept.text}` is made before the loop over the folds and trained in each of its rounds: from "
                "the second on, it is tested on samples that it was trained on",
                site=call.file.site(loop),
                evidence={"step_at": str(steps[0].call.site) if steps[0].call else "?"},
                cure="make the model and its optimizer anew at the start of each round",
                confidence=0.9,
            )


def _loop_over(call: Call) -> ast.For | None:
    """The loop whose rounds are what this call gives, be they counted or put in a list first."""
    node: ast.AST | None = call.node
    while node is not None:
        above = call.file.parent(node)
        if isinstance(above, ast.For) and above.iter is node:
            return above
        wraps = isinstance(above, ast.Call) and last_word(above) in ("enumerate", "tqdm", "list", "zip")
        node = above if wraps else None
    return None


def _is_of_folds(call: Call) -> bool:
    made = call.receiver.value if call.receiver is not None else None
    values = made.alternatives() if made is not None else ()
    return bool(values) and all(
        value.name.startswith("sklearn.model_selection.") and value.name.rpartition(".")[2] in FOLDS for value in values
    )


def _models(program: Program, file: SourceFile, loop: ast.For) -> Expression | None:
    """The one model that a loop works with, if it was made before; None where it makes one, or uses several."""
    kept: dict[str, Expression] = {}
    for node in (inner for part in loop.body for inner in ast.walk(part)):
        if isinstance(node, ast.Call) and _makes(program, file, node):
            return None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in kept:
            found = [value for value in program.expression(file, node).value.alternatives() if _is_model(value)]
            if any(made.file is file and loop in _around(file, made.node) for made in map(_making, found)):
                return None
            if found:
                kept[node.id] = program.expression(file, node)
    return next(iter(kept.values())) if len(kept) == 1 else None


def _is_model(value: Value) -> bool:
    return isinstance(value, Instance) and value.is_module and not value.is_loss and value.call is not None


def _making(value: Value) -> Call:
    assert isinstance(value, Instance)
    assert value.call is not None
    return value.call


def _makes(program: Program, file: SourceFile, node: ast.Call) -> bool:
    """Does a call return a model that was not there before, as `model.train()` does?"""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    if owner is not None and any(_is_model(value) for value in program.evaluate(file, owner).alternatives()):
        return False
    return any(_is_model(value) for value in program.evaluate(file, node).alternatives())


def _trains(step: Event, kept: Expression) -> bool:
    """Does a step certainly change this model, as far as it can be followed, with nothing that takes it back?"""
    if step.call is None or RESETS.search(step.call.file.bytes):
        return False
    made = optimizer_of(step.call).value
    held = made.call.argument_value(0, "params") if isinstance(made, Instance) and made.call is not None else None
    model = held.given if isinstance(held, Result) and held.name == "torch.nn.Module.parameters" else None
    return isinstance(model, Argument) or (isinstance(model, Instance) and is_same(model, _model(kept)))


def _model(kept: Expression) -> Instance:
    value = kept.value
    assert isinstance(value, Instance)
    return value


def _around(file: SourceFile, node: ast.AST) -> Iterator[ast.AST]:
    above = file.parent(node)
    while above is not None:
        yield above
        above = file.parent(above)


def sick() -> None:
    import torch
    from sklearn.datasets import load_wine
    from sklearn.model_selection import KFold
    from torch import nn

    torch.manual_seed(0)
    wine = load_wine()
    inputs = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)
    labels = torch.tensor(wine.target)
    model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
    loss_of = nn.CrossEntropyLoss()
    scores = []
    for learn, test in KFold(5, shuffle=True, random_state=0).split(inputs):  # TDX806
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(20):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[learn]), labels[learn])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            scores.append((model(inputs[test]).argmax(1) == labels[test]).float().mean().item())
    print(sum(scores) / len(scores))


def healthy() -> None:
    import torch
    from sklearn.datasets import load_wine
    from sklearn.model_selection import KFold
    from torch import nn

    torch.manual_seed(0)
    wine = load_wine()
    inputs = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)
    labels = torch.tensor(wine.target)
    loss_of = nn.CrossEntropyLoss()
    scores = []
    for learn, test in KFold(5, shuffle=True, random_state=0).split(inputs):
        model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(20):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[learn]), labels[learn])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            scores.append((model(inputs[test]).argmax(1) == labels[test]).float().mean().item())
    print(sum(scores) / len(scores))


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_wine
    from sklearn.model_selection import KFold
    from torch import nn

    torch.manual_seed(0)
    wine = load_wine()
    inputs = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)
    labels = torch.tensor(wine.target)
    model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    loss_of = nn.CrossEntropyLoss()
    scores = []
    for learn, test in KFold(5, shuffle=True, random_state=0).split(inputs):
        model.load_state_dict(start)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(20):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[learn]), labels[learn])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            scores.append((model(inputs[test]).argmax(1) == labels[test]).float().mean().item())
    print(sum(scores) / len(scores))
