"""Each step's backward pass goes through the graphs of all steps before it.

Seen as steps that take longer and longer, and memory that grows, until a run ends out of memory. Counted is through how
many of the earlier steps that were looked at the graph behind the objective goes: one more at each look.

Hurts because backward() costs what the graph is long: after n steps O(n), so that n steps cost O(n^2), where each alone
would cost the same. What flows back through earlier steps are gradients of earlier losses, at weights that have changed
since.

Helped by running backward on the step's own loss, and adding up `loss.item()`; by `detach()` on whatever is handed on
from step to step. A `retain_graph=True` that became necessary is the sign of it, not the cure.

No fault when the graph is long because the sequence is: it then begins in its own step. A graph that reaches back to
the step before and no farther, as in adversarial training, does not grow.

Sources: PyTorch FAQ, "My model reports cuda runtime error(2): out of memory"; PyTorch documentation, "Autograd
mechanics".
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Record

code, family, severity = "TDX913", "loop", "error"
needs = frozenset({"graph"})
explains = frozenset({"slow", "loss-graph-kept", "graph-used-after-step", "diverged", "learning-rate-too-high"})

THROUGH = 5
"""Steps, all that were looked at, that a graph goes through. Healthy runs read 0, two optimizers that take turns at
most 1."""


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The most earlier steps that any graph went through."""
    told = _told(record)
    if told:
        yield "THROUGH", max(through for through, _ in told)


def in_run(record: Record) -> Iterator[Finding]:
    """A graph that reached every step looked at before, one more at each look, and never one less."""
    told = _told(record)
    grows = all(before[0] <= after[0] for before, after in pairwise(told))
    if told and grows and any(through >= max(THROUGH, looks) for through, looks in told):
        last = record.process.last("graph")
        yield Finding(
            message=f"the graph behind the objective goes through all steps before, {told[-1][0]} that were looked at",
            site=site_of(last["site"]),
            evidence={"steps": record.steps, "earlier steps reached": [through for through, _ in told]},
            cure="run backward on the step's own loss; detach what is handed on from step to step",
            confidence=0.98,
        )


def _told(record: Record) -> list[tuple[int, int]]:
    """At each look: through how many earlier steps the graph went, and how many had been looked at."""
    facts = record.process.all("graph")
    return [(fact["through"], fact["sealed"]) for fact in facts if fact["through"] is not None]


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    total = torch.zeros(())
    for rows in torch.randperm(1600).repeat(2).split(64):
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        total = total + loss
        optimizer.zero_grad()
        total.backward(retain_graph=True)  # TDX913
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
    model = nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    total = torch.zeros(())
    for rows in torch.randperm(1600).repeat(2).split(64):
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        total = total + loss.detach()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{total.item():.3f}")


def looks_like_it() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.GRU(2, 16, batch_first=True)
    head = nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=0.01)
    for step in range(60):
        length = 4 + step // 3
        inputs = torch.rand(32, length, 2)
        targets = inputs[:, :, 0].mean(1, keepdim=True) + inputs[:, :, 1].mean(1, keepdim=True)
        optimizer.zero_grad()
        loss = torch.zeros(())
        state = None
        for part in inputs.split(2, dim=1):
            outputs, state = model(part, state)
        loss = nn.functional.mse_loss(head(outputs[:, -1]), targets)
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.4f}")
