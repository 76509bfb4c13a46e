"""What should update a tensor is computed, and thrown away.

Seen as an average of weights that scores as an untrained model does, a target network that never follows, weights that
are clipped and go on growing, a step taken by hand that changes nothing, while every line runs.

Hurts because `p.lerp(q, 0.1)`, unlike `p.lerp_(q, 0.1)`, leaves `p` alone and returns a new tensor; `p = 0.9 * p + ...`
in a loop over parameters gives a new meaning to the name and none to the parameter; an entry put into what
`state_dict()` returns changes a dictionary that nobody loads; and a module that loads its own `state_dict()` stays what
it is.

Helped by changing the tensor in place under `torch.no_grad()`: `p.lerp_(q, 0.1)`, `p.mul_(0.9).add_(q, alpha=0.1)`,
`p.copy_(...)`; by `load_state_dict` of the dictionary that was changed; by the source's name before `.state_dict()`.

No fault when the result is read again, or when a line only measures time or shows something in a notebook.

Sources: PyTorch documentation, "In-place operations" and `torch.Tensor.lerp_`; Polyak and Juditsky (1992),
"Acceleration of stochastic approximation by averaging"; Mnih et al. (2015), on target networks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Edit, Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.reading import words
from torchdx.source.tensors import is_tensor
from torchdx.source.weights import (
    copies_of_itself,
    entries_lost,
    is_weight,
    kept_by_a_name_alone,
    reads_weights,
    rebound,
    updates_lost,
)

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile

code, family, severity = "TDX915", "loop", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        *("not-learning", "loss-without-floor", "average-left-behind", "target-never-updated", "validation-gap"),
        "parameter-never-reached",
    }
)

CHANGING = words(
    "lerp add sub subtract mul multiply div divide pow neg abs sqrt rsqrt square exp log clamp clip clamp_min "
    "clamp_max addcmul addcdiv masked_fill masked_scatter index_fill index_copy index_add scatter scatter_add "
    "nan_to_num round floor ceil sign tril triu fmod remainder renorm sigmoid tanh relu"
)
"""Methods and functions of torch that give a new tensor, and have a twin, with `_`, that changes the old one."""

ONLY_TENSORS = words("lerp addcmul addcdiv masked_fill masked_scatter index_fill nan_to_num clamp_min clamp_max")
"""Those that nothing but a tensor has, in any library that goes with torch."""

FUNCTIONS = words("relu gelu silu leaky_relu elu softmax log_softmax sigmoid tanh normalize dropout")
QUIET = words("torch.no_grad torch.enable_grad torch.inference_mode torch.autocast torch.amp.autocast")


def in_source(program: Program) -> Iterator[Finding]:
    """Every statement that computes such an update and keeps nothing of it."""
    yield from _results(program)
    yield from _changed_in_vain(program)
    yield from _own_weights(program)
    for file in program.torch_files:
        for node, name in rebound(file):
            if _is_pure(node.value) and reads_weights(program, file, node.value):
                text = file.text_of(name)
                yield Finding(
                    message=f"`{text} = ...` in a loop over weights gives the name `{text}` another tensor, which "
                    "nothing reads: the weight itself stays as it was",
                    site=file.site(node),
                    cure=f"change it in place, under `torch.no_grad()`: `{text}.copy_({file.text_of(node.value)})`",
                    confidence=0.97,
                )
        for node, name in kept_by_a_name_alone(file):
            yield Finding(
                message=f"`{name.id} = ...` gives the name another meaning inside this function alone, and nothing "
                "reads it any more: what it stood for outside stays as it was",
                site=file.site(node),
                cure="change what it stands for in place (`load_state_dict`, `.copy_(...)`), or return it and keep it",
                confidence=0.95,
            )
        for lost in (*entries_lost(file), *updates_lost(file)):
            text = f"{file.text_of(lost.targets[0])} = ..." if isinstance(lost, ast.Assign) else file.text_of(lost)
            yield Finding(
                message=f"`{text}` puts tensors into a dictionary that `state_dict()` made and that nothing loads: the "
                "model stays as it was",
                site=file.site(lost),
                cure="hand the dictionary to `load_state_dict`, or change its tensors in place with `.copy_(...)`",
                confidence=0.97,
            )


def _results(program: Program) -> Iterator[Finding]:
    """Statements that are nothing but a call whose result is all it has."""
    for call in program.calls_named(*sorted(CHANGING | FUNCTIONS)):
        if not call.is_statement or call.gives("out") or call.gives("inplace") or _only_tries(call):
            continue
        certain = _certain(call)
        if certain is not None:
            kept = f": `{call.receiver.text}` stays as it was" if call.receiver is not None and not call.name else ""
            yield Finding(
                message=f"`{call.method}` returns a new tensor, and this statement throws it away{kept}",
                site=call.site,
                cure=f"call `.{call.method}_(...)`, which changes the tensor itself, or keep the result",
                confidence=0.98 if certain else 0.85,
                severity=None if certain else "warning",
            )


def _changed_in_vain(program: Program) -> Iterator[Finding]:
    """Statements that change in place what has just been made, and has no name: `p.mul(0.9).add_(q)`."""
    for call in program.calls_named(*sorted(f"{word}_" for word in CHANGING | {"copy"})):
        made = call.receiver.node if call.receiver is not None and call.is_statement else None
        if not isinstance(made, ast.Call) or not isinstance(made.func, ast.Attribute):
            continue
        of = call.at(made.func.value)
        fresh = made.func.attr in CHANGING and not made.keywords and not _changes_in_place(made.func.value)
        if fresh and not _only_tries(call) and (is_weight(of.value) or is_tensor(of.value)):
            yield Finding(
                message=f"`{made.func.attr}` returns a new tensor, which `{call.method}` changes and nothing keeps: "
                f"`{of.text}` stays as it was",
                site=call.site,
                cure=f"call `.{made.func.attr}_(...)`, which changes the tensor itself",
                confidence=0.97,
            )


def _changes_in_place(node: ast.expr) -> bool:
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr[-1:] == "_"
        for n in ast.walk(node)
    )


def _certain(call: Call) -> bool | None:
    """Is it certainly a tensor's method or torch's function? None where it may well be something else."""
    if call.name.startswith("torch.nn.functional."):
        return True if call.method in FUNCTIONS and len(call.node.args) < 4 else None
    if call.name.startswith("torch.") and call.name.count(".") == 1:
        return True
    if call.receiver is None or call.name or call.method not in CHANGING:
        return None
    value = call.receiver.value
    if is_tensor(value) or is_weight(value):
        return True
    defined = any(function.name == call.method for function in call.program.functions())
    chained = call.gives("alpha") or getattr(getattr(call.receiver.node, "func", None), "attr", "") in CHANGING
    return False if (call.method in ONLY_TENSORS or chained) and not defined else None


def _only_tries(call: Call) -> bool:
    """Is it there to be seen, to be timed or to fail: in a notebook's cell, or what was one, in a `try` or `with`?"""
    file = call.file
    if call.function is None and not any(file.loops_around(call.node)):
        return True
    child: ast.AST = call.node
    for above in file.ancestors(call.node):
        if isinstance(above, ast.Try) and child in above.body:
            return True
        if isinstance(above, ast.With) and not all(_is_quiet(call, item.context_expr) for item in above.items):
            return True
        if isinstance(above, (ast.For, ast.While)) and above.body == [file.statement(call.node)]:
            return not _uses_own(above, call.node)
        child = above
    return False


def _is_quiet(call: Call, context: ast.expr) -> bool:
    node = context.func if isinstance(context, ast.Call) else context
    found = call.program.resolve(call.file, node)
    return found is not None and (found.name in QUIET or found.name.endswith("autocast"))


def _uses_own(loop: ast.For | ast.While, node: ast.AST) -> bool:
    """Does the call use what the loop goes through?"""
    if isinstance(loop, ast.While):
        return False
    own = {name.id for name in ast.walk(loop.target) if isinstance(name, ast.Name)}
    return any(isinstance(name, ast.Name) and name.id in own for name in ast.walk(node))


def _own_weights(program: Program) -> Iterator[Finding]:
    """Modules that load the very dictionary that they give."""
    for call in program.calls_named("load_state_dict"):
        given = call.argument(0, "state_dict")
        inner = given.node if given is not None else None
        if call.receiver is None or not isinstance(inner, ast.Call) or not isinstance(inner.func, ast.Attribute):
            continue
        plain = inner.func.attr == "state_dict" and not inner.args and not inner.keywords
        if plain and _is_name(inner.func.value) and call.file.text_of(inner.func.value) == call.receiver.text:
            yield Finding(
                message=f"`{call.receiver.text}` is given its own weights: it stays as it was",
                site=call.site,
                cure="take the `state_dict()` of the model that it should follow",
                confidence=0.95,
            )
    for file, lost in copies_of_itself(program):
        yield Finding(
            message=f"`{file.text_of(lost)}` makes it a copy of itself: its values stay what they were",
            site=file.site(lost),
            cure="copy the model that it should follow",
            confidence=0.9,
            severity="warning",
        )


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_name(node.value))


def _is_pure(node: ast.expr) -> bool:
    """Does working it out change nothing: arithmetic, and methods and functions that give a new tensor?"""
    calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    kinds = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom, ast.Lambda)
    known = CHANGING | words("detach clone data to float double half cpu where zeros_like ones_like view reshape mean")
    return not any(isinstance(inner, kinds) for inner in ast.walk(node)) and all(
        isinstance(call.func, ast.Attribute) and call.func.attr in known for call in calls
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Change the tensor itself."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call, ast.Assign) if file is not None and finding.site else None
    if file is None or node is None:
        return
    edit = _in_place(file, node)
    found = edits.fix("change the tensor in place", file, [edit]) if edit is not None else None
    if found is not None:
        yield found


def _in_place(file: SourceFile, node: ast.AST) -> Edit | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
        arguments = file.text_of(node).removeprefix(file.text_of(node.func))
        return edits.replace(file, node, f"{file.text_of(node.func)}_{arguments}")
    if isinstance(node, ast.Assign):
        name, value = file.text_of(node.targets[0]), file.text_of(node.value)
        text = f"{name}.copy_({value})" if isinstance(node.targets[0], ast.Subscript) else f"{name}.data.copy_({value})"
        return edits.replace(file, node, text)
    return None


def sick() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(5):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            for kept, new in zip(average.parameters(), model.parameters(), strict=True):
                kept.lerp(new.detach(), 0.1)  # TDX915
    print(f"{(average(inputs).argmax(1) == labels).float().mean():.3f}")


def healthy() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(5):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            for kept, new in zip(average.parameters(), model.parameters(), strict=True):
                kept.lerp_(new.detach(), 0.1)
    print(f"{(average(inputs).argmax(1) == labels).float().mean():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn

    class Counts:
        """One whose `add` and `clamp` change it."""

        def __init__(self) -> None:
            self.total = 0.0

        def add(self, number: float) -> None:
            self.total += number

        def clamp(self, most: float) -> None:
            self.total = min(self.total, most)

    torch.manual_seed(0)
    wine = load_wine()
    inputs = torch.tensor(wine.data, dtype=torch.float32)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    labels = torch.tensor(wine.target)
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    counts = Counts()
    seen: set[int] = set()
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        counts.add(loss.item())
        counts.clamp(1000.0)
        seen.add(len(seen))
        for name, tensor in model.state_dict().items():
            tensor = 0.1 * tensor + 0.9 * average[name]
            average[name] = tensor
    model.load_state_dict(average)
    print(f"{(model(inputs).argmax(1) == labels).float().mean():.3f}", counts.total, len(seen))
