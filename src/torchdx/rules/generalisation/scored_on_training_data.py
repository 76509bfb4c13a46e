"""What is measured is the training data's score, and the data that were held out are never looked at.

Seen as a score close to perfect that does not hold for anything new. Found where data are split, or made by the same
call twice, one part is trained on and given to what measures as well, and the other part is never read.

Hurts because a model that learnt its training data by heart scores well on them: the number says nothing about others.

Helped by giving the part that was held out to what measures.

No fault when the score on the training data is measured beside another one.

Sources: T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning" (2009), section 7.2.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.source.expressions import Call
from torchdx.source.index import last_word
from torchdx.source.unused import held_out_unused
from torchdx.source.values import Instance, Literal, Reference

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile

code, family, severity = "TDX809", "generalisation", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"overfitting"})


def in_source(program: Program) -> Iterator[Finding]:
    """Every part that was held out and is never read, where the other part is trained on and measured on alone."""
    for unused in held_out_unused(program):
        measured = _measured_on(program, unused.file, unused.scope, unused.used)
        if measured is not None:
            text = unused.file.text_of(measured)
            yield Finding(
                message=f"`{' '.join(text.split())[:60]}` measures on what was trained on (`{unused.trained}`), and "
                f"`{unused.name}`, which was held out, is never looked at",
                site=unused.file.site(measured),
                evidence={"held_out_at": str(unused.file.site(unused.node))},
                cure=f"measure on `{unused.name}`",
                confidence=0.85,
            )
            return


def _measured_on(program: Program, file: SourceFile, scope: ast.AST, used: frozenset[str]) -> ast.expr | None:
    """What measures on these data, if they are trained on, and nothing is measured on that is made otherwise."""
    measured: list[ast.expr] = []
    trains = any(
        loop.file is file and file.scope_of(loop.node).node is scope and _names(loop.node) & used
        for loop in program.training_loops
    )
    for node in file.index.calls_in.get(scope, ()):
        given = [arg for arg in (*node.args, *(keyword.value for keyword in node.keywords)) if _names(arg) & used]
        effects = _effects(program, file, node)
        if "backward" in effects:
            trains |= bool(given)
        if "backward" in effects and not _is_given_twice(program, file, given):
            continue
        if effects:
            apart = [arg for arg in node.args if arg not in given and not _is_no_data(program, file, arg)]
            if not given or apart:
                return None
            measured.append(node)
    for drawn in _drawn_without_gradients(file, scope):
        if not _names(drawn) & used:
            return None
        measured.append(drawn)
    return measured[0] if measured and trains else None


def _effects(program: Program, file: SourceFile, node: ast.Call) -> set[str]:
    """Of a call of the program's own: does it train, or is it one that only measures?"""
    functions = program.effects.targets(Call(program, file, node))
    effects = {str(event.effect) for function in functions for event in program.effects.of(function)}
    if any("no_grad" in word or "inference_mode" in word for one in functions for word in one.decorators):
        effects.add("no_grad")
    return effects & {"backward", "no_grad", "eval"}


def _is_given_twice(program: Program, file: SourceFile, given: list[ast.expr]) -> bool:
    """Is what trains given the same thing twice, or two loaders of the same data?"""
    texts = [file.text_of(arg) for arg in given if isinstance(arg, (ast.Name, ast.Attribute))]
    values = [program.evaluate(file, arg) for arg in given]
    return len(set(texts)) < len(texts) or sum(isinstance(one, Instance) and one.is_loader for one in values) > 1


def _drawn_without_gradients(file: SourceFile, scope: ast.AST) -> Iterator[ast.expr]:
    """What loops in `with torch.no_grad():` of a scope go over."""
    for loop in file.index.loops:
        if isinstance(loop, ast.For) and file.scope_of(loop).node is scope and not isinstance(loop.iter, ast.Constant):
            around = [one for one in file.ancestors(loop) if isinstance(one, ast.With)]
            off = [last_word(i.context_expr) for w in around for i in w.items if isinstance(i.context_expr, ast.Call)]
            if {"no_grad", "inference_mode"} & set(off):
                yield loop.iter


def _is_no_data(program: Program, file: SourceFile, arg: ast.expr) -> bool:
    """Is it a model, a loss, a function or a number?"""
    value = program.evaluate(file, arg)
    module = isinstance(value, Instance) and value.is_module
    return module or isinstance(value, (Literal, Reference)) or isinstance(arg, (ast.Constant, ast.Lambda))


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    def accuracy(model: nn.Module, rows: torch.Tensor) -> float:
        with torch.no_grad():
            return float((model(inputs[rows]).argmax(1) == labels[rows]).float().mean().item())

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]  # noqa: F841
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{accuracy(model, training):.3f}")  # TDX809


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    def accuracy(model: nn.Module, rows: torch.Tensor) -> float:
        with torch.no_grad():
            return float((model(inputs[rows]).argmax(1) == labels[rows]).float().mean().item())

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{accuracy(model, validation):.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    def accuracy(model: nn.Module, rows: torch.Tensor) -> float:
        with torch.no_grad():
            return float((model(inputs[rows]).argmax(1) == labels[rows]).float().mean().item())

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation, _unused = order[:1200], order[1200:1500], order[1500:]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        print(f"{accuracy(model, training):.3f} {accuracy(model, validation):.3f}")
