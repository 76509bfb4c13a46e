"""A layer has a bias that the batch normalisation right after it takes away again.

Seen as a parameter whose gradient is zero but for rounding, in every step.

Hurts because batch normalisation subtracts the batch's mean: BN(Wx + b) = BN(Wx) for any b. The bias costs memory and
optimizer state and learns nothing; the normalisation's own beta does its work.

Helped by `bias=False` in the layer.

No fault when the layer's output is used elsewhere too, or the normalisation is always in evaluation mode.

Sources: S. Ioffe and C. Szegedy, arXiv 1502.03167, section 3.2.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.contents import contents
from torchdx.source.values import Group, Instance, Result, Value, literal

if TYPE_CHECKING:
    from torchdx.source import Call, Program

code, family, severity = "TDX402", "normalisation", "note"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

BIAS_PLACE = {"Linear": 2, **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d"), 7)} | dict.fromkeys(
    ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"), 7
)


def in_source(program: Program) -> Iterator[Finding]:
    """Every layer with a bias whose output goes into a batch normalisation and nowhere else."""
    found = {layer.node: layer for layer in (*_in_rows(program), *_in_code(program))}
    for layer in sorted(found.values(), key=lambda layer: layer.site):
        yield Finding(
            message=f"the bias of `{layer.text[:60]}` is taken away by the batch normalisation after it",
            site=layer.site,
            cure="pass `bias=False`",
            confidence=0.95,
        )


def _in_rows(program: Program) -> Iterator[Call]:
    """Layer and normalisation next to each other in a Sequential or in a list of layers."""
    for call in program.calls("torch.nn.Sequential"):
        value = call.value if b"BatchNorm" in call.file.bytes else None
        if isinstance(value, Instance):
            yield from _pairs(contents(value)[0])
    for file in program.torch_files:
        for node in file.index.calls.get("append", ()) if b"BatchNorm" in file.bytes else ():
            if node.args and isinstance(node.args[0], (ast.List, ast.Tuple)):
                value = program.evaluate(file, node.args[0])
                yield from _pairs(value.items if isinstance(value, Group) else ())


def _pairs(items: tuple[Value, ...]) -> Iterator[Call]:
    for first, second in pairwise(items):
        if _is_norm(second):
            yield from _biased(first)


def _is_norm(value: Value) -> bool:
    found = value.alternatives()
    return all(isinstance(choice, Instance) and choice.dotted.startswith("torch.nn.BatchNorm") for choice in found)


def _in_code(program: Program) -> Iterator[Call]:
    """`self.bn(self.conv(x))`, or the same in two lines that keep one name."""
    for model in program.models:
        definition = model.instance.definition
        forward = definition.method("forward") if definition is not None else None
        if forward is None or b"BatchNorm" not in forward.file.bytes:
            continue
        for call in forward.calls():
            given = call.argument(0, "input")
            if given is None or not _is_norm(program.evaluate(call.file, call.node.func)):
                continue
            value = given.value
            if isinstance(value, Result) and value.module is not None and _is_used_once(call, given.node, value):
                yield from _biased(value.module)


def _is_used_once(call: Call, given: ast.expr, layer: Result) -> bool:
    if isinstance(given, ast.Call):
        return True
    statement, before = call.file.statement(call.node), call.file.statement(layer.call.node)
    return (
        isinstance(given, ast.Name)
        and isinstance(statement, ast.Assign)
        and isinstance(before, ast.Assign)
        and before.value is layer.call.node
        and [ast.dump(target) for target in statement.targets] == [ast.dump(target) for target in before.targets]
        and call.file.text_of(statement).count(given.id) == 2
    )


def _biased(value: Value) -> Iterator[Call]:
    """The constructor call, if the layer certainly has a bias."""
    if not isinstance(value, Instance) or value.call is None or not value.dotted.startswith("torch.nn."):
        return
    place = BIAS_PLACE.get(value.dotted.rpartition(".")[2])
    if place is not None and value.call.is_certain and value.call.name == value.dotted:
        bias = value.call.argument(place, "bias")
        if bias is None or (isinstance(bias.node, ast.Constant) and literal(bias.value) is True):
            yield value.call


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Leave the bias out."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call):
        return
    given = next((word for word in node.keywords if word.arg == "bias"), None)
    change = edits.replace(file, given.value, "False") if given else edits.insert_keyword(file, node, "bias=False")
    found = edits.fix("leave out the bias", file, [change])
    if found is not None:
        yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),  # TDX402
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(4):
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
    inputs = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(4):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
