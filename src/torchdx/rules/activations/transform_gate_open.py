"""The gates of a deep highway network start half open, so that hardly anything of the input gets through.

Seen as a stack of highway layers y = H T + x (1 - T) that is as hard to train as a plain one; measured is the mean of
the gates T at the first look, and the number of such layers in one model.

Hurts because of an input at most the share (1 - T)^L is carried past L layers unchanged. With a bias near 0 the gates
start at T = 0.5, and after 10 layers that is a thousandth, after 20 a millionth; at a bias of -2 it is T = 0.12 and
after 20 layers 0.08.

Helped by starting the bias of the gates between -1 and -3, the more negative the deeper, so that layers begin by
carrying their input on:

    nn.init.constant_(self.gate.bias, -2.0)

No fault when the network learns all the same, when there are only a few such layers, or when one gate serves every step
of a sequence, as in a GRU.

Sources: R. K. Srivastava, K. Greff and J. Schmidhuber, "Highway Networks", arXiv 1505.00387, and "Training Very Deep
Networks", arXiv 1507.06228.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from statistics import mean
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Parameter, Record
    from torchdx.source import Program

code, family, severity = "TDX310", "activations", "warning"
needs = frozenset({"highway", "step"})
explains = frozenset(
    {
        *("signal-lost-in-depth", "vanishing-gradient", "learning-rate-too-low", "output-ignores-input"),
        *("parameter-unchanged", "not-learning"),
    }
)

OPEN = 0.4
"""Mean gate at the first look (catalogue, row 51: a bias of 0 or more, that is 0.5). A bias of -1, the least of the
paper, gives 0.27, one of -3 gives 0.05."""
DEEP = 10
"""Gates with weights of their own in one model (catalogue, row 51)."""
STUCK = 0.2
"""Share of the loss learnt away below which a net is stuck: vanishing-gradient's bound."""
STEPS = 30
"""Optimizer steps before which no net can be said to be stuck: the examination's own bound."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every model with many open gates that does not learn."""
    for gates in _stacks(record):
        share = mean(value for _, value in gates)
        stuck = record.steps >= STEPS and record.progress.finite and record.progress.gain < STUCK
        if len(gates) >= DEEP and share > OPEN and stuck:
            yield _finding(record, gates, share)


def _stacks(record: Record) -> Iterator[list[tuple[Parameter, float]]]:
    """The gates of each model: the weight of each, and its mean, in the model's order."""
    for fact in record.process.all("highway"):
        known = [(record.process.parameters.get(int(key)), value) for key, value in fact["gates"].items()]
        yield sorted(((p, value) for p, value in known if p is not None), key=lambda gate: gate[0].id)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    stacks = list(_stacks(record))
    if stacks:
        yield "DEEP", max(len(gates) for gates in stacks)
        yield "OPEN", max(mean(value for _, value in gates) for gates in stacks)
        yield "STUCK", record.progress.gain


def _finding(record: Record, gates: list[tuple[Parameter, float]], share: float) -> Finding:
    first = gates[0][0]
    return Finding(
        message=f"{len(gates)} highway gates start at {share:.2f} on average, from `{first.layer or first.name}` on, "
        f"so that {(1 - share) ** len(gates):.1e} of the input is carried through; the loss stays at "
        f"{record.progress.last:.3g}",
        site=first.site,
        layer=first.layer or None,
        evidence={
            "gates": len(gates),
            "mean of each gate at the first look": [value for _, value in gates],
            "training loss": record.progress.last,
        },
        cure="start the bias of the gates between -1 and -3",
        confidence=0.9,
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Start the gate's bias at -2, right after the gate is made."""
    call = next((c for c in program.calls("torch.nn.Linear") if c.site == finding.site), None)
    statement = call.file.statement(call.node) if call is not None else None
    if call is None or not isinstance(statement, ast.Assign) or statement.value is not call.node:
        return
    if not isinstance(call.node.func, ast.Attribute) or isinstance(statement.targets[0], ast.Tuple):
        return
    owner, target = call.file.text_of(call.node.func.value), call.file.text_of(statement.targets[0])
    line = f"{owner}.init.constant_({target}.bias, -2.0)"
    found = edits.fix("close the gates at the start", call.file, [edits.insert_after(call.file, statement, line)])
    if found is not None:
        yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Highway(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.computed = nn.Linear(32, 32)
            self.gate = nn.Linear(32, 32)  # TDX310

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            share = torch.sigmoid(self.gate(x))
            return share * torch.relu(self.computed(x)) + (1 - share) * x

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 32), *[Highway() for _ in range(20)], nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Highway(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.computed = nn.Linear(32, 32)
            self.gate = nn.Linear(32, 32)
            nn.init.constant_(self.gate.bias, -3.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            share = torch.sigmoid(self.gate(x))
            return share * torch.relu(self.computed(x)) + (1 - share) * x

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 32), *[Highway() for _ in range(20)], nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
