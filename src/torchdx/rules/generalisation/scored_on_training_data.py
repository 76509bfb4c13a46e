"""What is measured is the training data's score, and the data that were held out are never looked at.

Seen as a score close to perfect that does not hold for anything new. Found where data are split, or made by the same
call twice, one part is trained on and given to what measures as well, and the other part is never read; or where what
is measured on is cut from the same samples, or made by the same call with the same seed.

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
from torchdx.source.last_scores import never_tested, trained_on_all
from torchdx.source.measuring import drawn_by_functions, drawn_without_gradients, effects_of, names_in
from torchdx.source.overlaps import same_samples
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
    yield from _on_the_same(program)
    yield from _of_an_object(program)
    yield from _at_last(program)


def _at_last(program: Program) -> Iterator[Finding]:
    """What is measured when all training is over, where it is what was trained on; and what is trained on is all."""
    for last in never_tested(program):
        text = " ".join(last.file.text_of(last.node).split())[:60]
        yield Finding(
            message=f"`{text}` measures at last on what was trained on (`{last.trained}`), and `{last.name}`, which "
            "was held out beside it, is never looked at",
            site=last.file.site(last.node),
            cure=f"measure on `{last.name}`",
            confidence=0.85,
        )
    for whole in trained_on_all(program):
        yield Finding(
            message=f"`{whole.trained}` is handed on whole for training, with `{whole.name}` of it in it, which is "
            "measured on; the rest of the split is never looked at",
            site=whole.file.site(whole.node),
            cure=f"train on the samples that are not in `{whole.name}`",
            confidence=0.85,
        )


def _on_the_same(program: Program) -> Iterator[Finding]:
    """What is measured on samples that are those trained on under another name, where it is measured on no others."""
    for twice in same_samples(program):
        first, second = twice.used
        measured = _measured_on(program, twice.file, twice.scope, first | second, second, first - second)
        if measured is not None:
            text = " ".join(twice.file.text_of(measured).split())[:60]
            yield Finding(
                message=f"`{text}` measures on `{twice.names[1]}`, which are samples that are trained on "
                f"(`{twice.names[0]}`): both are cut alike, or made by the same call",
                site=twice.file.site(measured),
                evidence={"made_at": str(twice.file.site(twice.node))},
                cure="measure on samples that are not among those trained on",
                confidence=0.85,
            )
            return


def _of_an_object(program: Program) -> Iterator[Finding]:
    """A method that measures on what another one trains on, where the object has other data that nobody reads."""
    for file in program.torch_files:
        read: dict[str, list[ast.Attribute]] = {}
        made: dict[tuple[ast.AST, str], list[str]] = {}
        for node in tuple(file.index.parents):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.setdefault(node.attr, []).append(node)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                for name in (one.attr for one in node.targets if isinstance(one, ast.Attribute)):
                    value = program.evaluate(file, node.value)
                    if isinstance(value, Instance) and value.is_loader:
                        made.setdefault((file.scope_of(node).node, file.text_of(node.value.func)), []).append(name)
        for names in made.values():
            used = [name for name in names if name in read]
            measured = _measuring(program, file, read[used[0]]) if len(used) == 1 < len(names) else None
            if measured is not None:
                rest = next(name for name in names if name not in read)
                yield Finding(
                    message=f"`{file.text_of(measured)}`, which is trained on, is measured on as well, and `{rest}`, "
                    "which stands beside it, is never looked at",
                    site=file.site(measured),
                    cure=f"measure on `{rest}`",
                    confidence=0.85,
                )
                return


def _measuring(program: Program, file: SourceFile, uses: list[ast.Attribute]) -> ast.expr | None:
    """The use of these data in a function that only measures, if another trains on them."""
    trained, measured = False, None
    for use in uses:
        function = file.scope_of(use).node
        if not isinstance(function, ast.FunctionDef):
            continue
        here = program.function(file, function)
        effects = {str(event.effect) for event in program.effects.of(here)} | {
            "no_grad" for word in here.decorators if "no_grad" in word or "inference_mode" in word
        }
        if "backward" in effects:
            trained = True
        elif effects & {"no_grad", "eval"} and any(
            use in ast.walk(loop.iter) for loop in ast.walk(function) if isinstance(loop, ast.For)
        ):
            measured = use
    return measured if trained else None


def _measured_on(
    program: Program,
    file: SourceFile,
    scope: ast.AST,
    used: frozenset[str],
    only: frozenset[str] | None = None,
    fitted: frozenset[str] | None = None,
) -> ast.expr | None:
    """What measures on these data, if they are trained on, and nothing is measured on that is made otherwise.

    Of samples with two names it is what measures on `only` these, if those `fitted` are trained on.
    """
    measured: list[ast.expr] = []
    trains = any(
        loop.file is file and file.scope_of(loop.node).node is scope and names_in(loop.node) & (fitted or used)
        for loop in program.training_loops
    )
    for node in file.index.calls_in.get(scope, ()):
        given = [arg for arg in (*node.args, *(keyword.value for keyword in node.keywords)) if names_in(arg) & used]
        effects = effects_of(program, file, node)
        if "backward" in effects:
            trains |= any(names_in(arg) & (fitted or used) for arg in given)
        if "backward" in effects and not (_is_given_both(given, fitted, only) or _is_given_twice(program, file, given)):
            continue
        if effects:
            apart = [arg for arg in node.args if arg not in given and not _is_no_data(program, file, arg)]
            if not given or apart:
                return None
            measured.append(node)
    for drawn in drawn_without_gradients(file, scope):
        if not names_in(drawn) & used:
            return None
        measured.append(drawn)
    for function in (one for one in file.index.functions if file.scope_of(one).node is scope):
        inside = _closed_over(program, file, function)
        if inside and any(not names_in(one) & used and not _is_no_data(program, file, one) for one in inside):
            return None
        measured += [one for one in inside if names_in(one) & used]
    for drawn in drawn_by_functions(program, file, scope):
        if not names_in(drawn) & used:
            return None
        measured.append(drawn)
    told = [one for one in measured if only is None or names_in(one) & only]
    return told[0] if told and trains and (only is None or len(told) == len(measured)) else None


def _closed_over(program: Program, file: SourceFile, function: ast.AST) -> list[ast.expr]:
    """What a function that only measures reads of the variables around it."""
    if not isinstance(function, ast.FunctionDef):
        return []
    effects = {str(event.effect) for event in program.effects.of(program.function(file, function))}
    around = file.scope_of(function)
    if "backward" in effects or not effects & {"no_grad", "eval"} or not around.is_function:
        return []
    reads = [one for one in ast.walk(function) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)]
    bound = {name for name, made in around.bindings.items() if any(one.how == "assign" for one in made)}
    return [one for one in reads if one.id in bound and one.id not in file.scope_of(function.body[0]).bindings]


def _is_given_both(given: list[ast.expr], fitted: frozenset[str] | None, only: frozenset[str] | None) -> bool:
    """Is what trains given the samples under both of their names?"""
    return bool(fitted and only) and all(any(names_in(arg) & part for arg in given) for part in (fitted, only) if part)


def _is_given_twice(program: Program, file: SourceFile, given: list[ast.expr]) -> bool:
    """Is what trains given the same thing twice, or two loaders of the same data?"""
    texts = [file.text_of(arg) for arg in given if isinstance(arg, (ast.Name, ast.Attribute))]
    values = [program.evaluate(file, arg) for arg in given]
    return len(set(texts)) < len(texts) or sum(isinstance(one, Instance) and one.is_loader for one in values) > 1


def _is_no_data(program: Program, file: SourceFile, arg: ast.expr) -> bool:
    """Is it a model, a loss, a function or a number?"""
    value = program.evaluate(file, arg)
    module = isinstance(value, Instance) and value.is_module
    return module or isinstance(value, (Literal, Reference)) or isinstance(arg, (ast.Constant, ast.Lambda))


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
