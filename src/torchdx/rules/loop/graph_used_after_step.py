"""A loss is computed before a step and run backward after it, through weights that the step has changed.

Seen as "RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation"
(or "Trying to backward through the graph a second time"); before PyTorch 1.5, as gradients that were quietly wrong.

Hurts because the chain rule needs the weights of the forward pass: for y = W x, dL/dx = W^T dL/dy with the W that made
y. `step()` overwrites W in place, so what is left in memory belongs to no graph at all. `retain_graph=True` keeps the
graph, not the weights.

Helped by computing the second loss anew after the step, by running every backward pass before the first step, or by
`detach()` where the gradient was not meant to go through.

No fault when what was computed before the step is detached, or the optimizer holds other weights.

Sources: PyTorch documentation, "Autograd mechanics", section "In-place correctness checks"; PyTorch 1.5.0 release
notes, section on optimizers that modify parameters in place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, Model, edits, optimizer_of, without_gradient
from torchdx.source.flow import reaching
from torchdx.source.phases import is_same
from torchdx.source.reading import words
from torchdx.source.values import Instance, Method, Result

if TYPE_CHECKING:
    from torchdx.source import Event, Expression, Program, Round
    from torchdx.source.values import Value

code, family, severity = "TDX903", "loop", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning"})

WEIGHTED = ("Linear", "Conv", "Bilinear", "LSTM", "GRU", "RNN", "Transformer", "MultiheadAttention")
CUTS = words("detach item tolist numpy float int len range size argmax no_grad")
"""Calls that no gradient comes through."""
MOST = 50


def in_source(program: Program) -> Iterator[Finding]:
    """Every backward pass after a step, through what the stepped weights computed before it."""
    told = set()
    for late, step, used in _late(program):
        if late.site not in told:
            told.add(late.site)
            yield Finding(
                message=f"`{late.text}` goes back through `{used.text}` ({used.site.seen_from(late.site.path)}), but "
                f"`{step.text}` has changed those weights in place since",
                site=late.site,
                evidence={"computed_at": str(used.site), "step_at": str(step.site)},
                cure=f"run backward() before `{step.text}`, compute the loss anew after it, or detach()",
                confidence=0.95,
            )


def _late(program: Program) -> Iterator[tuple[Call, Call, Call]]:
    """Backward passes with the step that comes before them and the forward pass before that."""
    for round_ in program.training_rounds:
        own = [event for event in round_.directly if event.through is None and event.certain]
        for place, event in enumerate(own):
            if event.effect == "step" and any(later.effect == "backward" for later in own[place:]):
                yield from _after(program, round_, event, own[place + 1 :])


def _after(program: Program, round_: Round, stepped: Event, later: list[Event]) -> Iterator[tuple[Call, Call, Call]]:
    step = stepped.call
    held = _held(optimizer_of(step).value) if step is not None and stepped.call is not None else []
    beside = round_.beside(stepped) if held else ()
    for event in later:
        backward = event.call
        if event.effect != "backward" or event not in beside or backward is None or step is None:
            continue
        loss = backward.receiver.node if backward.receiver is not None and not backward.node.args else None
        for node in _behind(program, round_, backward, loss) if loss is not None else ():
            call = Call(program, backward.file, node)
            before = _line(round_.node) <= node.lineno < step.node.lineno
            if before and _runs(call, held) and not without_gradient(call):
                yield backward, step, call


def _held(optimizer: Value) -> list[Instance]:
    """The models whose weights an optimizer certainly holds, those only of several layers."""
    made = optimizer.call if isinstance(optimizer, Instance) and optimizer.is_optimizer else None
    given = made.argument(0, "params") if made is not None else None
    return [model for model in _owners(given) if _is_deep(model)] if given is not None else []


def _owners(given: Expression) -> Iterator[Instance]:
    """Whose parameters are meant by `a.parameters()`, or by a list, sum or chain of such."""
    node, value = given.node, given.value
    if isinstance(value, Result) and value.dotted == "torch.nn.Module.parameters":
        if isinstance(value.given, Instance):
            yield value.given
    elif isinstance(node, ast.List | ast.Tuple):
        for part in node.elts:
            yield from _owners(given.at(part))
    elif isinstance(node, ast.Starred):
        yield from _owners(given.at(node.value))
    elif isinstance(node, ast.BinOp):
        yield from _owners(given.at(node.left))
        yield from _owners(given.at(node.right))
    elif isinstance(node, ast.Dict):
        for part in node.values:
            yield from _owners(given.at(part))
    elif isinstance(node, ast.Call) and not isinstance(value, Instance):
        for argument in node.args:
            yield from _owners(given.at(argument))


def _is_deep(model: Instance) -> bool:
    """Has it several layers of weights, so that a gradient on its way to the first needs the second's?"""
    layers = [inner for inner in Model(model).everything() if inner.dotted.startswith("torch.nn.")]
    return sum(inner.dotted.rpartition(".")[2].startswith(WEIGHTED) for inner in layers) > 1


def _runs(call: Call, models: list[Instance]) -> bool:
    """Does a call certainly run one of these models, or a method of its own?"""
    values = call.program.evaluate(call.file, call.node.func).alternatives()
    runs = [v.receiver if isinstance(v, Method) and v.definition is not None else v for v in values]
    return all(isinstance(v, Instance) and any(is_same(v, model) for model in models) for v in runs)


def _behind(program: Program, round_: Round, use: Call, loss: ast.expr) -> Iterator[ast.Call]:
    """The calls of this round that a gradient of the loss comes through, in the same function."""
    file, scope = use.file, use.file.scope_of(use.node)
    seen: set[ast.AST] = set()
    queue: list[tuple[ast.expr, ast.AST]] = [(loss, use.node)]
    for expression, place in queue:
        for node in _through(expression):
            if isinstance(node, ast.Call):
                yield node
            elif isinstance(node, ast.Name):
                bindings = scope.bindings.get(node.id, [])
                found = [b for b in reaching(file, bindings, place, scope.node) if _line(b.node) < _line(place)]
                binding = found[0] if len(found) == 1 and _line(found[0].node) >= _line(round_.node) else None
                if binding is None or binding.value is None or binding.how not in ("assign", "augment"):
                    continue
                if binding.node not in seen and len(seen) < MOST:
                    seen.add(binding.node)
                    queue.append((binding.value, binding.node))
                    if isinstance(binding.node, ast.AugAssign):
                        queue.append((binding.node.target, binding.node))


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def _through(expression: ast.expr) -> Iterator[ast.AST]:
    """The nodes of an expression that a gradient comes through."""
    stack: list[ast.AST] = [expression]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Call):
            word = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if word in CUTS:
                continue
        if isinstance(node, ast.Attribute) and node.attr in ("data", "shape", "device", "grad"):
            continue
        if isinstance(node, ast.Compare | ast.Lambda):
            continue
        yield node
        stack.extend(ast.iter_child_nodes(node))


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Take the step after both backward passes, if nothing is cleared in between."""
    for late, step, _ in _late(program):
        file = late.file
        one, other = file.statement(step.node), file.statement(late.node)
        if late.site != finding.site or one is None or other is None or not step.is_statement:
            continue
        block = edits.block_of(file, one)
        if other not in block or any("zero_grad" in file.text_of(s) for s in _from(block, one, other)):
            return
        changes = [edits.delete_statement(file, one), edits.insert_after(file, other, step.text)]
        fix = edits.fix("take the step after both backward passes", file, changes)
        if fix is not None:
            yield fix
            return


def _from(block: list[ast.stmt], one: ast.stmt, other: ast.stmt) -> list[ast.stmt]:
    return block[block.index(one) : block.index(other)]


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
    naming, drawing = nn.Linear(32, 10), nn.Linear(32, 64)
    for_names = torch.optim.Adam([*body.parameters(), *naming.parameters()], lr=0.003)
    for_drawings = torch.optim.Adam(drawing.parameters(), lr=0.003)
    try:
        for _ in range(10):
            for rows in torch.randperm(len(inputs)).split(64):
                for_names.zero_grad()
                for_drawings.zero_grad()
                hidden = body(inputs[rows])
                loss = nn.functional.cross_entropy(naming(hidden), labels[rows])
                error = nn.functional.mse_loss(drawing(hidden), inputs[rows])
                loss.backward(retain_graph=True)
                for_names.step()
                error.backward()  # TDX903
                for_drawings.step()
    except RuntimeError as stopped:
        print(stopped)
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
    naming, drawing = nn.Linear(32, 10), nn.Linear(32, 64)
    for_names = torch.optim.Adam([*body.parameters(), *naming.parameters()], lr=0.003)
    for_drawings = torch.optim.Adam(drawing.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            for_names.zero_grad()
            for_drawings.zero_grad()
            hidden = body(inputs[rows])
            loss = nn.functional.cross_entropy(naming(hidden), labels[rows])
            error = nn.functional.mse_loss(drawing(hidden), inputs[rows])
            loss.backward(retain_graph=True)
            error.backward()
            for_names.step()
            for_drawings.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
    naming, drawing = nn.Linear(32, 10), nn.Linear(32, 64)
    for_names = torch.optim.Adam([*body.parameters(), *naming.parameters()], lr=0.003)
    for_drawings = torch.optim.Adam(drawing.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            for_names.zero_grad()
            for_drawings.zero_grad()
            hidden = body(inputs[rows])
            loss = nn.functional.cross_entropy(naming(hidden), labels[rows])
            error = nn.functional.mse_loss(drawing(hidden.detach()), inputs[rows])
            loss.backward()
            for_names.step()
            error.backward()
            for_drawings.step()
    print(f"{loss.item():.3f}")
