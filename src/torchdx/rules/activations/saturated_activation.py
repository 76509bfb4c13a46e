"""A squashing unit between two layers sits on its flat ends.

Seen as a loss that stands still or creeps, most in the layers before the unit; measured is the share of a sigmoid's or
tanh's outputs at which its derivative is below 0.01, where a sum of more than 4.6 (sigmoid) or 3.0 (tanh) went in.

Hurts because the gradient that comes back is multiplied by the derivative: sigma' = sigma (1 - sigma) is at most 0.25,
0.0177 at 4 and, in float32, exactly 0 from about 16.6 on; tanh' = 1 - tanh^2. What lies before a flat unit learns
nothing through it. A sigmoid also hands on outputs with a mean near 0.5, which pushes the next sums to one side.

Helped by inputs scaled to mean 0 and deviation 1, weights started at a deviation of about 1/sqrt(inputs), a lower
learning rate where the sums grew during training, batch normalisation before the unit, or ReLU in its place.

No fault when the unit is a gate or the last of the model, whose job it is to say yes or no, or when it went flat
because the task has been learnt.

Sources: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010);
A. Rakitianskaia and A. Engelbrecht, "Measuring saturation in neural networks" (2015).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix, NotEnough
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Layer, Record
    from torchdx.source import Program

code, family, severity = "TDX301", "activations", "warning"
needs = frozenset({"outputs"})
explains = frozenset({"not-learning", "vanishing-gradient", "learning-rate-too-low"})

FLAT = 0.5
"""Half a layer flat (catalogue, rows 48 and 64); the healthy zoo and six healthy squashing nets stay below 0.09, twelve
nets made sick by weights, biases, inputs or rate lie between 0.55 and 1."""

LOOKS = 5
"""Looks that must agree (catalogue, row 64)."""

LEARNT = 0.9
"""Share of the loss learnt away from which flat units are taken for the fruit of learning, unless they were flat at
once: a tanh net on the digits has lost 0.98 of its loss before a tenth of it is flat."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Every squashing layer that another layer reads, and that is mostly flat."""
    squashing = _squashing(record)
    if squashing and max(len(layer.series("flat")) for layer in squashing) < LOOKS:
        yield NotEnough(needs=f"at least {LOOKS} looks at the activations")
        return
    for layer in squashing:
        flat = layer.series("flat").finite
        at_once = flat.earliest(LOOKS).median > FLAT
        if flat.median > FLAT and len(flat) >= LOOKS and (at_once or not record.progress.gain > LEARNT):
            yield _finding(layer, at_once)


def _squashing(record: Record) -> list[Layer]:
    """The squashing layers that another layer reads."""
    return [layer for layer in record.layers if layer.cls in ("Sigmoid", "Tanh") and layer.series("read")]


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    seen = [flat for layer in _squashing(record) if len(flat := layer.series("flat").finite) >= LOOKS]
    if seen:
        yield "FLAT", max(flat.median for flat in seen)
        yield "LEARNT", record.progress.gain


def _finding(layer: Layer, at_once: bool) -> Finding:
    flat, mean = layer.series("flat").finite, layer.series("mean").median
    when = "from the first steps on" if at_once else "since its sums grew in training"
    cure = "scale the inputs and start the weights smaller" if at_once else "lower the learning rate"
    return Finding(
        message=f"{flat.median:.0%} of the outputs of {layer.name} ({layer.cls.lower()}) lie on its flat ends {when}, "
        "where almost no gradient passes",
        site=layer.site,
        layer=layer.name,
        evidence={
            "share of outputs on flat ends": flat.median,
            "at the first looks": flat.earliest(LOOKS).mean,
            "at the last looks": flat.latest(LOOKS).mean,
            "mean of outputs (0 is best for the next layer)": mean,
            "steps": list(flat.thinned(50).steps),
            "share over steps": list(flat.thinned(50).values),
        },
        cure=f"{cure}, put batch normalisation before it, or use ReLU in its place",
        confidence=0.95 if at_once else 0.85,
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Put ReLU in the place of a squashing module."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call):
        return
    call = program.expression(file, node)
    last = node.func
    if getattr(call, "name", "") in ("torch.nn.Sigmoid", "torch.nn.Tanh") and isinstance(last, ast.Attribute):
        changed = f"{file.text_of(last.value)}.ReLU"
        found = edits.fix("use ReLU in its place", file, [edits.replace(file, last, changed)])
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
    nn.init.constant_(first.bias, -8.0)
    model = nn.Sequential(
        first,
        nn.Sigmoid(),  # TDX301
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
    model = nn.Sequential(
        nn.Linear(64, 64),
        nn.Tanh(),
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


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(64, 64)
            drive = nn.Linear(64, 64)
            nn.init.constant_(drive.bias, 6.0)
            self.gate = nn.Sequential(drive, nn.Sigmoid())
            self.outer = nn.Linear(64, 10)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            inner = self.inner(pictures).relu()
            scores: torch.Tensor = self.outer(inner * self.gate(inner))
            return scores

    torch.manual_seed(0)
    digits = load_digits()
    pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(pictures, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = Gated()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
