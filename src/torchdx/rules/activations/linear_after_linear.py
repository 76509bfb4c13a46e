"""Two linear layers follow one another with nothing nonlinear between them.

Seen as a network that is no better for its depth. In a run, the autograd graph shows which layer reads nothing but
another's output, through nothing but reshaping, dropout, shifts and scaling.

Hurts because W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2): one linear layer can do all that the two can. The second
costs time, memory and optimizer state, and the activation that was meant to stand between them, and to make the network
deep, is missing. Dropout between them changes nothing of this.

Helped by the activation (ReLU, GELU) that is missing, or by leaving one of the two layers out.

No fault when a layer between is narrower than both its sides: then the two are a low-rank factorisation. Nor among the
projections of an attention, which has its nonlinearity elsewhere.

Sources: I. Goodfellow, Y. Bengio and A. Courville, "Deep Learning" (2016), section 6.1.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.index import word_of
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.record import Parameter, Record
    from torchdx.source import Program, UserClass, UserFunction

code, family, severity = "TDX307", "activations", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "exploding-gradient", "signal-lost-in-depth"})

LINEAR = "torch.nn.Linear"
BETWEEN = ("Dropout", "Identity")
SMALLEST = 8
"""Widths below are those of demonstrations. Of healthy programs none has such a row; sick ones have 32 and 64."""

ON_PURPOSE = re.compile(r"low.?rank|lora|factor|bottleneck|adapter|linear(_?net|_?model|_?probe)|toy", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """Two layers, and where the second is (in a row) or is applied."""

    first: Call
    second: Call
    place: Call


def in_source(program: Program) -> Iterator[Finding]:
    """Every linear layer whose input is another's output, used nowhere else."""
    for pair in _pairs(program):
        if not pair.place.file.is_test and _is_wide(pair) and not ON_PURPOSE.search(_around(pair)):
            yield Finding(
                message=f"`{pair.second.text[:50]}` directly follows `{pair.first.text[:50]}`: with no activation "
                "between them, the two are one linear layer",
                site=pair.place.site,
                cure="put an activation, such as `nn.ReLU()`, between them",
                confidence=0.9,
            )


def in_run(record: Record) -> Iterator[Finding]:
    """Every row of linear layers that reads, at the first look, as one: none of them narrower than both its ends."""
    whole = {parameter.id for row in _rows(record) if len(row) > 2 for parameter in row}
    for row in _rows(record):
        inner = len(row) == 2 and {parameter.id for parameter in row} <= whole
        if _spare(row) >= SMALLEST and not inner:
            names = [f"`{parameter.layer or parameter.name}`" for parameter in row]
            between = f"{names[0]} and {names[1]}" if len(row) == 2 else f"{names[0]}, {names[1]} ... {names[-1]}"
            widths = _widths(row)
            yield Finding(
                message=f"nothing nonlinear stands between {between}: each reads the one before as it is, but for "
                f"sums, scales and pooling, and the {len(row)} do no more than one linear layer can",
                site=row[1].site,
                layer=row[1].layer,
                evidence={"layers": len(row), "widths": " ".join(str(width) for width in widths)},
                cure="put an activation, such as `nn.ReLU()`, between them",
                confidence=0.93,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The width of the narrowest layer between of a row that is as wide as one of its ends; 0 if there is none."""
    if record.layers:
        yield "SMALLEST", max(map(_spare, _rows(record)), default=0)


def _rows(record: Record) -> Iterator[Sequence[Parameter]]:
    """The weights of plain linear layers that follow one another, made side by side and stepped by one optimizer.

    Where one part of a model ends and another begins, as an encoder's code, an embedding or what a generator makes, a
    plain linear layer is usual on either side.
    """
    known = {parameter.id: parameter for parameter in record.parameters}
    for fact in record.process.all("chain"):
        row = [known[number] for number in fact["params"] if number in known]
        if fact.get("whole"):
            if len(row) == len(fact["params"]) and len({_steppers(record, parameter) for parameter in row}) == 1:
                yield row
            continue
        if len(row) == len(fact["params"]) and all(parameter.kind == "Linear" for parameter in row):
            for _, side_by_side in groupby(row, lambda parameter: _home(record, parameter)):
                together = list(side_by_side)
                if len(together) > 1:
                    yield together


def _home(record: Record, parameter: Parameter) -> tuple[object, ...]:
    """What a layer is part of, and which optimizers step it."""
    return parameter.model, parameter.layer.rpartition(".")[0], _steppers(record, parameter)


def _steppers(record: Record, parameter: Parameter) -> tuple[int, ...]:
    return tuple(optimizer.id for optimizer in record.optimizers if parameter.id in optimizer.parameter_ids)


def _spare(row: Sequence[Parameter]) -> int:
    """The least width between, in the row or a part of it, where one layer could do all that it can; else 0."""
    parts = [_widths(row)[start:end] for start in range(len(row) - 1) for end in range(start + 3, len(row) + 2)]
    return max((min(inner) for first, *inner, last in parts if min(inner) >= min(first, last)), default=0)


def _widths(row: Sequence[Parameter]) -> list[int]:
    """From the first layer's input to the last one's output, also of matrices that inputs are multiplied by."""
    given, made = 1, 0
    if any(one.shape[0] != other.shape[1] for one, other in pairwise(row)):
        given, made = (0, 1) if all(one.shape[1] == other.shape[0] for one, other in pairwise(row)) else (1, 0)
    return [row[0].shape[given], *(parameter.shape[made] for parameter in row)]


def _pairs(program: Program) -> Iterator[Pair]:
    for call in program.calls_named("Sequential"):
        yield from _in_row(call)
    for cls in program.classes():
        yield from _in_code(cls)


def _in_row(call: Call) -> Iterator[Pair]:
    """Next to each other among the arguments of a Sequential."""
    items = [node for node in call.node.args if _word(node) not in BETWEEN]
    for one, other in pairwise(items):
        if _word(one) == _word(other) == "Linear" and call.name == "torch.nn.Sequential":
            first, second = _called(call, one), _called(call, other)
            if first.name == second.name == LINEAR:
                yield Pair(first, second, second)


def _called(near: Call, node: ast.expr) -> Call:
    assert isinstance(node, ast.Call)
    return Call(near.program, near.file, node)


def _word(node: ast.AST | None) -> str:
    return word_of(getattr(node, "func", None))


def _in_code(cls: UserClass) -> Iterator[Pair]:
    """One applied to the other's result in forward."""
    scope = cls.file.index.scopes.get(cls.node)
    if scope is None or "forward" not in scope.bindings:
        return
    held = {n: b[0][1].value for n, b in cls.own_attributes.items() if len(b) == 1 and not b[0][1].steps}
    layers = {name: node for name, node in held.items() if _word(node) == "Linear" and isinstance(node, ast.Call)}
    forward = cls.method("forward")
    if len(layers) < 2 or forward is None or forward.file is not cls.file or not cls.is_model:
        return
    passing = {name for name, node in held.items() if _word(node) in BETWEEN}
    for call in forward.calls():
        name = _attribute(forward, call.node.func)
        if name not in layers or len(call.node.args) != 1:
            continue
        before = _attribute(forward, _applied(forward, call.node, passing))
        if before in layers and before != name and all(_is_applied_once(forward, word) for word in (name, before)):
            first, second = (Call(cls.program, cls.file, layers[word]) for word in (before, name))
            if first.name == second.name == LINEAR:
                yield Pair(first, second, call)


def _attribute(forward: UserFunction, node: ast.AST | None) -> str:
    """X of `self.X`."""
    own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == forward.self_name
    return node.attr if own and isinstance(node, ast.Attribute) else ""


def _applied(forward: UserFunction, call: ast.Call, passing: set[str]) -> ast.expr | None:
    """What was called to make the first argument, dropout skipped, if that result is used nowhere else."""
    given: ast.expr | None = call.args[0]
    if isinstance(given, ast.Name):
        given = _made_just_before(forward, call, given)
    if not isinstance(given, ast.Call) or not given.args:
        return None
    skipped = _attribute(forward, given.func) in passing or _word(given) == "dropout"
    return _applied(forward, given, passing) if skipped else given.func


def _made_just_before(forward: UserFunction, call: ast.Call, name: ast.Name) -> ast.expr | None:
    """The value of a name that the statement above this one sets, where only this one uses it."""
    file, here = forward.file, forward.file.statement(call)
    block = getattr(file.parent(here), "body", []) if here is not None else []
    place = block.index(here) if here in block else 0
    before = block[place - 1] if place > 0 else None
    if not isinstance(before, ast.Assign) or [getattr(t, "id", "") for t in before.targets] != [name.id]:
        return None
    again = isinstance(here, ast.Assign) and [getattr(t, "id", "") for t in here.targets] == [name.id]
    uses = re.findall(rf"\b{name.id}\b", file.text_of(here if again and here else forward.node))
    return before.value if len(uses) == 2 else None


def _is_applied_once(forward: UserFunction, name: str) -> bool:
    owner = forward.owner
    return owner is not None and len(re.findall(rf"\.{name}\(", owner.file.text_of(owner.node))) == 1


def _is_wide(pair: Pair) -> bool:
    """Is the layer between certainly as wide as one of its sides?"""
    sides = (pair.first.argument(0, "in_features"), pair.second.argument(1, "out_features"))
    for hidden in (pair.first.argument(1, "out_features"), pair.second.argument(0, "in_features")):
        for side in sides:
            if hidden is None or side is None:
                return False
            width, other = literal(hidden.value), literal(side.value)
            if isinstance(width, int) and isinstance(other, int):
                if width >= max(other, SMALLEST):
                    return True
            elif hidden.text == side.text and hidden.function is side.function:
                return True
    return False


def _around(pair: Pair) -> str:
    """The names of what it stands in, and of the file."""
    function = pair.place.function
    owner = function.owner.name if function is not None and function.owner is not None else ""
    return f"{pair.place.file.path.replace(chr(92), '/').rpartition('/')[2]} {owner}"


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Put a ReLU between them."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call):
        return
    torch = "torch" in file.module_scope.bindings
    if _word(node) == "Linear" and _word(file.parent(node)) == "Sequential":
        spelt = file.text_of(node.func)
        edit = edits.replace(file, node, f"{spelt[: -len('Linear')]}ReLU(), {file.text_of(node)}")
        if spelt == "Linear" and "ReLU" not in file.module_scope.bindings:
            return
    elif node.args and torch:
        edit = edits.replace(file, node.args[0], f"torch.relu({file.text_of(node.args[0])})")
    else:
        return
    fix = edits.fix("put a ReLU between them", file, [edit])
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
    model = nn.Sequential(
        nn.Linear(64, 32),
        nn.Linear(32, 10),  # TDX307
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
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
    model = nn.Sequential(
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Factored(nn.Module):
        """A product of two thin matrices, and a hidden layer that serves two heads."""

        def __init__(self) -> None:
            super().__init__()
            self.down, self.up = nn.Linear(64, 8, bias=False), nn.Linear(8, 64)
            self.thin = nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 64))
            self.hidden = nn.Linear(64, 32)
            self.head, self.gate = nn.Linear(32, 10), nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.thin(torch.relu(self.up(self.down(x))))
            h = self.hidden(x)
            logits: torch.Tensor = self.head(h) * torch.sigmoid(self.gate(h))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Factored()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
