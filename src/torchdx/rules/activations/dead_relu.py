"""Nearly all units of a ReLU layer give zero for every input.

Seen as a loss that stands still, often after one wild step; measured is the share of units that were not once above
zero at any look, and the share of zeros among all outputs at the last looks; of a ReLU that ends a regression, whether
it gives anything but zeros.

Hurts because ReLU's derivative is 0 below 0: a unit whose sum is negative for every sample gets no gradient and never
comes back. A step that is too large, or a bias started far below zero, pushes whole layers there.

Helped by a lower learning rate, biases started at 0, He initialisation, scaled inputs, or LeakyReLU, ELU or GELU, which
let some gradient through.

No fault when many units are silent and the task is learnt all the same: a healthy convolutional net may have three
quarters of a layer silent, and outputs that are zero 19 times in 20.

Sources: K. He et al., "Delving Deep into Rectifiers", arXiv 1502.01852; L. Lu et al., "Dying ReLU and Initialization",
arXiv 1903.06733.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import Series
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Layer, Parameter, Record
    from torchdx.source import Program

code, family, severity = "TDX303", "activations", "warning"
needs = frozenset({"outputs"})
explains = frozenset({"not-learning", "vanishing-gradient", "learning-rate-too-low", "cannot-fit-one-batch"})

DEAD = 0.9
"""Share of units never above zero (catalogue, row 63): healthy nets reach 0.77."""

ZERO = 0.99
"""Share of zeros among all outputs, at each of the last looks: healthy nets reach 0.95 (catalogue, part A)."""

LOOKS, LAST = 8, 5
"""Looks, each at another batch, before units are called dead; and those at the end that must agree."""

LEARNT = 0.8
"""Share of the loss learnt away from which silence is taken for sparseness; nets with dead layers learnt 0 to 0.3. But
a layer that gave nothing but zeros is none of sparse units, whatever the last bias learnt: of 145 healthy programs none
has a layer with more than 0.9 of its units silent."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every ReLU layer that is silent while the model learns badly, or in which not one unit ever spoke."""
    learnt = record.progress.gain > LEARNT
    for layer in _judged(record):
        never, zero = _silence(layer)
        if never >= 1 and zero >= 1 if learnt else never > DEAD or zero > ZERO:
            yield _finding(layer, never, layer.series("zero").latest(LAST).mean)
    if learnt:
        return
    for last, shares in _endings(record):
        if shares.latest(LAST).lowest >= 1:
            yield _of_ending(last, shares)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    silent = [_silence(layer) for layer in _judged(record)]
    endings = [shares.latest(LAST).lowest for _, shares in _endings(record)]
    if silent:
        yield "DEAD", max(never for never, _ in silent)
    if silent or endings:
        yield "ZERO", max([zero for _, zero in silent] + endings)
        yield "LEARNT", record.progress.gain


def _judged(record: Record) -> list[Layer]:
    """The ReLU layers that were looked at often enough."""
    return [layer for layer in record.layers if layer.cls in ("ReLU", "Relu") and len(layer.series("zero")) >= LOOKS]


def _silence(layer: Layer) -> tuple[float, float]:
    """The share of units never above zero, and the least share of zeros among all outputs at the last looks."""
    return layer.series("dead").last, layer.series("zero").latest(LAST).lowest


def _endings(record: Record) -> Iterator[tuple[Parameter | None, Series]]:
    """The parameter before each activation that ends a regression, and the share of zeros it gave over the looks."""
    looks: dict[int | None, list[tuple[int, float | None]]] = {}
    for fact in record.process.all("bound"):
        if fact.get("silenced") is not None and fact["low"] == 0:
            looks.setdefault(fact.get("after"), []).append((fact["step"], fact["silenced"]))
    for after, shares in looks.items():
        if len(shares) >= LOOKS:
            yield next((p for p in record.parameters if p.id == after), None), Series.of(iter(shares))


def _of_ending(last: Parameter | None, shares: Series) -> Finding:
    since = "from the start" if shares.earliest(2).lowest >= 1 else "since a step of training"
    after = f" after `{last.layer}`" if last is not None and last.layer else ""
    return Finding(
        message=f"all that the ReLU{after} gives, with which the model ends, is zero, {since}: it is dead, and "
        "hands no gradient on",
        site=last.site if last is not None else None,
        layer=last.layer if last is not None else None,
        evidence={
            "share of zeros at the last looks": shares.latest(LAST).lowest,
            "steps": list(shares.thinned(50).steps),
            "share of zeros over steps": list(shares.thinned(50).values),
        },
        cure="leave out the ReLU after the last layer, or use softplus; start the layer's bias at 0 or above",
        confidence=0.95,
    )


def _finding(layer: Layer, never: float, zero: float) -> Finding:
    series = layer.series("zero").thinned(50)
    since = "from the start" if layer.series("zero").earliest(2).lowest > DEAD else "since a step of training"
    return Finding(
        message=f"{zero:.0%} of the outputs of {layer.name} (ReLU) are zero, {since}: its units are dead",
        site=layer.site,
        layer=layer.name,
        evidence={
            "share of units never above zero": never,
            "share of zeros at the last looks": zero,
            "steps": list(series.steps),
            "share of zeros over steps": list(series.values),
        },
        cure="lower the learning rate and start biases at 0, or use LeakyReLU",
        confidence=0.9,
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Put LeakyReLU in its place."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    if node.func.attr == "ReLU":
        changed = f"{file.text_of(node.func.value)}.LeakyReLU"
        found = edits.fix("use LeakyReLU in its place", file, [edits.replace(file, node, f"{changed}(0.1)")])
        if found is not None:
            yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(pictures, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    first = nn.Linear(64, 64)
    nn.init.constant_(first.bias, -10.0)
    model = nn.Sequential(
        first,
        nn.ReLU(),  # TDX303
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(pictures, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    first = nn.Linear(64, 64)
    nn.init.zeros_(first.bias)
    model = nn.Sequential(
        first,
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
