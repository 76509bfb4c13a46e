"""The losses of many rounds are summed up or collected as tensors, each with the graph that it was computed by.

Seen as memory that grows from round to round, until it ends with "CUDA out of memory" in the midst of an epoch that
began well; and as training that slows down.

Hurts because a loss is the last node of its round's graph. `total += loss` makes `total` a node above it, so nothing of
any round can be freed before `total` is: memory grows as O(rounds), where a number would take 8 bytes.

Helped by adding up numbers, `total += loss.item()`, or, where waiting for the device is to be spared, tensors without
a graph: `total += loss.detach()`.

No fault when backward() is run through the sum itself, or when it is emptied in the loop, in every round or now and
then.

Sources: PyTorch FAQ, "My model reports cuda runtime error(2): out of memory: don't accumulate history across your
training loop".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import edits
from torchdx.source.effects import without_gradient
from torchdx.source.flow import reaching
from torchdx.source.graphs import differentiated
from torchdx.source.reading import words
from torchdx.source.tensors import is_tensor
from torchdx.source.values import Group, Literal

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Call, Program, SourceFile
    from torchdx.source.index import Binding, LoopNode, Scope

code, family, severity = "TDX208", "gradients", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"slow"})

KEPT = 6
"""Graphs of the first steps that are all still kept. A variable that holds the best or the last loss keeps one."""
PASSES = 2.0
"""Passes over the data after which they are: whoever empties a list once an epoch has done so by then."""
STEPS = 1000
"""Steps in place of that, where no loader is known."""

SAME = words("mean sum cpu clone to float double squeeze view reshape contiguous")
SIDES = (ast.Add, ast.Sub, ast.Mult, ast.Div)


@dataclass(frozen=True)
class Loss:
    """What backward was run through: a name, the assignments it has there, and what of it is written after a dot."""

    file: SourceFile
    scope: Scope
    text: str
    name: str
    given: frozenset[Binding]

    def is_at(self, node: ast.expr) -> bool:
        """Does an expression stand for this very loss?"""
        base = node.value if isinstance(node, ast.Attribute) else node
        if not isinstance(base, ast.Name) or base.id != self.name or self.file.text_of(node) != self.text:
            return False
        return self.file.scope_of(base) is self.scope and _seen(self.file, base) == self.given


def in_source(program: Program) -> Iterator[Finding]:
    """Every sum or list, kept from round to round, of losses that backward was run through."""
    told = set()
    for call in program.calls_named("backward", "manual_backward"):
        loss = _loss(call)
        for node, kept in _keepings(program, loss) if loss is not None else ():
            if node not in told:
                told.add(node)
                file = call.file
                yield Finding(
                    message=f"`{kept}` keeps the graph of every round, which `{file.text_of(node)}` carries",
                    site=file.site(node),
                    evidence={"backward_at": str(call.site)},
                    cure=f"keep the number: `{file.text_of(node)}.item()`, or `.detach()`",
                    confidence=0.9,
                )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """How many graphs were kept at last, and after how many passes, or steps, the oldest was."""
    told = record.process.all("graph")
    if told:
        yield "KEPT", told[-1]["kept"]
        yield ("PASSES" if _batches(record) else "STEPS"), _age(record)


def in_run(record: Record) -> Iterator[Finding]:
    """Graphs of the first steps, every one of which is still kept long after backward was run through it."""
    last = record.process.last("graph")
    if not last or last["kept"] < max(KEPT, last["sealed"] - 2) or last["oldest"] > 1:
        return
    if (last.get("through") or 0) < KEPT and _age(record) >= (PASSES if _batches(record) else STEPS):
        yield Finding(
            message=f"after {last['step']} steps the graphs of {last['kept']} losses, all that were followed, are kept",
            site=site_of(last["site"]),
            evidence={"steps": last["step"], "graphs followed": last["sealed"], "graphs kept": last["kept"]},
            cure="add up and keep numbers: `loss.item()`, or `loss.detach()`",
            confidence=0.95,
        )


def _age(record: Record) -> float:
    """How many passes over the training data, or else steps, the oldest graph kept has lived."""
    last = record.process.last("graph")
    steps = last["step"] - last["oldest"]
    return float(steps / (_batches(record) or 1))


def _batches(record: Record) -> int | None:
    """How many batches the loader has that training takes its data from."""
    trained_on = {phase.loader for phase in record.phases("train")}
    return max((loader.batches or 0 for loader in record.loaders if loader.id in trained_on), default=0) or None


def _loss(call: Call) -> Loss | None:
    """The loss of a call of backward, where it has a name of its function's own."""
    if any(keyword.arg == "retain_graph" for keyword in call.node.keywords):
        return None
    given = differentiated(call)
    node = _bare(given.node) if given is not None else None
    base = node.value if isinstance(node, ast.Attribute) else node
    if node is None or not isinstance(base, ast.Name) or base.id == "self":
        return None
    scope = call.file.scope_of(base)
    if base.id not in scope.bindings or scope.is_class:
        return None
    return Loss(call.file, scope, call.file.text_of(node), base.id, _seen(call.file, base))


def _seen(file: SourceFile, name: ast.Name) -> frozenset[Binding]:
    scope = file.scope_of(name)
    return frozenset(reaching(file, scope.bindings.get(name.id, []), name, scope.node))


def _bare(node: ast.expr) -> ast.expr | None:
    """The name in an expression that only scales it: `loss` in `(loss / 4).mean()`."""
    if isinstance(node, (ast.Name, ast.Attribute)):
        return node if isinstance(node, ast.Name) or isinstance(node.value, ast.Name) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SAME:
        return _bare(node.func.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        return _bare(node.left)
    return None


def _keepings(program: Program, loss: Loss) -> Iterator[tuple[ast.expr, str]]:
    """Where the loss, graph and all, is added to something that outlives the round, and the statement's text."""
    file, scope = loss.file, loss.scope
    for name, bindings in scope.bindings.items():
        for binding in bindings:
            added = _added(binding, name)
            found = _loss_in(added, loss) if added is not None else None
            if found is not None and _outlives(program, file, bindings, binding) and not _is_off(program, file, found):
                yield found, file.text_of(binding.node)
    for binding in file.index.attributes_in.get(scope.node, ()):
        found = _loss_in(binding.value, loss) if binding.how == "augment" and binding.value is not None else None
        if found is not None and _is_number(program, file, binding.node) and not _is_off(program, file, found):
            yield found, file.text_of(file.statement(binding.node) or binding.node)
    for node in file.index.calls.get("append", ()):
        found = _loss_in(node.args[0], loss) if len(node.args) == 1 else None
        if found is not None and _is_lasting_list(program, file, node) and not _is_off(program, file, found):
            yield found, file.text_of(node)


def _added(binding: Binding, name: str) -> ast.expr | None:
    """What is added to a name: by `+=`, or by `name = name + ...`."""
    if binding.how == "augment" and isinstance(binding.node, ast.AugAssign):
        return binding.value if isinstance(binding.node.op, ast.Add) else None
    value = binding.value
    if binding.how == "assign" and isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        for one, other in ((value.left, value.right), (value.right, value.left)):
            if isinstance(one, ast.Name) and one.id == name:
                return other
    return None


def _loss_in(node: ast.expr, loss: Loss) -> ast.expr | None:
    """The loss inside what is added, if its graph comes along."""
    if loss.is_at(node):
        return node
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SAME:
        return _loss_in(node.func.value, loss)
    if isinstance(node, ast.BinOp) and isinstance(node.op, SIDES):
        return _loss_in(node.left, loss) or _loss_in(node.right, loss)
    return None


def _is_off(program: Program, file: SourceFile, node: ast.expr) -> bool:
    return without_gradient(program.expression(file, node))


def _loop(file: SourceFile, node: ast.AST) -> LoopNode | None:
    return next(file.loops_around(node), None)


def _outlives(program: Program, file: SourceFile, bindings: list[Binding], kept: Binding) -> bool:
    """Does the sum start as a number, or a tensor, outside the round, and is it never begun anew in a round?"""
    loop = _loop(file, kept.node)
    others = [binding for binding in bindings if binding.how != "augment" and _added(binding, kept.name) is None]
    if loop is None or any(binding.how != "assign" for binding in others):
        return False
    inside = [binding for binding in others if loop in file.loops_around(binding.node)]
    values = [program.evaluator.bound(file, binding, None) for binding in others]
    starts = all(_is_zero(one) or is_tensor(one) for value in values for one in value.alternatives())
    return starts and bool(others) and not inside and not _is_differentiated(program, file, kept)


def _is_zero(value: object) -> bool:
    return isinstance(value, Literal) and isinstance(value.value, (int, float)) and not isinstance(value.value, bool)


def _is_differentiated(program: Program, file: SourceFile, kept: Binding) -> bool:
    """Is backward run through the sum, or something of that name, here?"""
    for call in program.calls_in(file, file.scope_of(kept.node).node):
        if call.method in ("backward", "manual_backward"):
            given = differentiated(call)
            names = ast.walk(given.node) if given is not None else ()
            if any(isinstance(node, ast.Name) and node.id == kept.name for node in names):
                return True
    return False


def _is_number(program: Program, file: SourceFile, target: ast.AST) -> bool:
    """Does an attribute that is added to in every round start as a number?"""
    if not isinstance(target, ast.Attribute) or not (_loop(file, target) or _is_kept_by_object(program, file, target)):
        return False
    return any(_is_zero(choice) for choice in program.evaluate(file, target).alternatives())


def _is_lasting_list(program: Program, file: SourceFile, call: ast.Call) -> bool:
    """Is something appended, in every round, to a list that is made outside of it?"""
    loop = _loop(file, call)
    holder = call.func.value if isinstance(call.func, ast.Attribute) else None
    if holder is None or not (loop or _is_kept_by_object(program, file, holder)):
        return False
    made = program.evaluate(file, holder).alternatives()
    if not all(isinstance(choice, Group) for choice in made):
        return False
    if not isinstance(holder, ast.Name):
        return True
    scope = file.scope_of(holder)
    seen = reaching(file, scope.bindings.get(holder.id, []), holder, scope.node)
    return bool(seen) and loop is not None and all(loop not in file.loops_around(binding.node) for binding in seen)


def _is_kept_by_object(program: Program, file: SourceFile, held: ast.expr) -> bool:
    """Is it an attribute that only the constructor sets, in a method that a loop elsewhere calls?"""
    function = program.expression(file, held).function
    owner = function.owner if function is not None else None
    if function is None or owner is None or function.name == "__init__" or not isinstance(held, ast.Attribute):
        return False
    if not isinstance(held.value, ast.Name) or held.value.id != function.self_name or _is_emptied(program, held.attr):
        return False
    setting = [method for _, method, binding in owner.attribute(held.attr) if binding.how != "augment"]
    once = len(setting) == 1 and setting[0] is not None and setting[0].name == "__init__"
    return once and any(caller.in_loop for caller in program.callers(function))


def _is_emptied(program: Program, name: str) -> bool:
    """Does the program set anything of this name anew, cut it, or take something out of it?"""
    word = re.escape(name).encode()
    emptied = re.compile(rb"\.%b\s*(\[[^\]\n]*\]\s*=[^=]|\.(clear|pop|popleft)\()|del\s+[\w.]+\.%b\b" % (word, word))
    anew = re.compile(rb"\.%b\s*(:[^=\n]+)?=[^=]" % word)
    found = [file.bytes for file in program.torch_files if word in file.bytes]
    return any(emptied.search(data) for data in found) or sum(len(anew.findall(data)) for data in found) > 1


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Keep the loss without its graph."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Name, ast.Attribute) if file is not None and finding.site else None
    if file is not None and isinstance(node, ast.expr):
        change = edits.replace(file, node, f"{file.text_of(node)}.detach()")
        found = edits.fix("keep the loss without its graph", file, [change])
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
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        total = torch.zeros(())
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            total += loss * len(rows)  # TDX208
        print(f"{total.item() / len(inputs):.3f}")


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
    for _ in range(8):
        total = torch.zeros(())
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        print(f"{total.item() / len(inputs):.3f}")


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
    losses = []
    for _ in range(8):
        running = torch.zeros(())
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            total = torch.zeros(())
            for part in rows.split(32):
                loss = nn.functional.cross_entropy(model(inputs[part]), labels[part])
                total = total + loss * len(part) / len(rows)
            total.backward()
            optimizer.step()
            with torch.no_grad():
                running += total
            number = total.item()
            losses.append(number)
        print(f"{running.item():.3f} {losses[-1]:.3f}")
