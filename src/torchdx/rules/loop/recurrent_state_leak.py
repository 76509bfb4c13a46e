"""A recurrent layer begins a batch with the state it ended another batch with, though the batches are shuffled.

Seen as training that learns less than it could, and an evaluation that depends on the order of the data. Measured is
that the initial state equals, value for value, the final state of the batch before, and that the loader draws its
batches at random.

Hurts because the state is the layer's memory of what it has read. Row i of a batch is read on with the memory of row i
of the last batch, which is another sequence: to the layer that is noise, which it must learn to forget before it can
learn anything else.

Helped by beginning each batch without a state (`self.rnn(x)`, or zeros); or, where the sequences do go on from batch to
batch, by a loader that does not shuffle.

No fault when a state is carried through the parts of one long sequence, when batches come in order, or when the state
is made anew: zeros, learnt, or an encoder's.

Sources: PyTorch documentation, `torch.nn.LSTM`; Williams & Peng 1990, truncated backpropagation through time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Fact, Record

code, family, severity = "TDX914", "loop", "warning"
needs = frozenset({"carried"})
explains = frozenset({"not-learning", "validation-gap"})

TIMES = 3
"""Batches begun with the state of the one before. Equality of 64 values is no accident; once may be a warm-up."""


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """How often a layer was seen to begin a shuffled batch with the state of another."""
    for leaks in _leaks(record).values():
        yield "TIMES", len(leaks)


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Every layer that begins shuffled batches with the state of the batch before."""
    for number, leaks in _leaks(record).items():
        if len(leaks) < TIMES:
            yield NotEnough(f"{TIMES} looks at batches that follow each other")
            continue
        layer = record.process.layers.get(str(number))
        yield Finding(
            message=f"{f'`{layer.name}`' if layer else 'a recurrent layer'} begins each batch with the state that it "
            "ended the batch before with, and the batches are drawn at random",
            site=site_of(leaks[0]["site"]),
            layer=layer.name if layer else "",
            evidence={"times": len(leaks), "steps": [fact["step"] for fact in leaks]},
            cure="begin each batch without a state, or do not shuffle where sequences go on from batch to batch",
            confidence=0.92,
        )


def _leaks(record: Record) -> dict[int, list[Fact]]:
    """By layer: the batches of a shuffling loader that were begun with the state of the one before."""
    shuffled = {loader.id for loader in record.loaders if loader.order == "random"}
    found: dict[int, list[Fact]] = {}
    for fact in record.process.all("carried"):
        if fact["kept"] and fact["loader"] in shuffled:
            found.setdefault(fact["module"], []).append(fact)
    return found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 10)

        def forward(self, rows: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            outputs, state = self.rnn(rows, state)  # TDX914
            return self.head(outputs[:, -1]), state

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    data = TensorDataset(inputs, torch.tensor(digits.target))
    loader = DataLoader(data, batch_size=64, shuffle=True, drop_last=True)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    state = torch.zeros(1, 64, 32)
    for _ in range(4):
        for rows, labels in loader:
            optimizer.zero_grad()
            logits, state = model(rows, state.detach())
            loss = nn.functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 10)

        def forward(self, rows: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            outputs, state = self.rnn(rows, state)
            return self.head(outputs[:, -1]), state

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    data = TensorDataset(inputs, torch.tensor(digits.target))
    loader = DataLoader(data, batch_size=64, shuffle=True, drop_last=True)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(4):
        for rows, labels in loader:
            optimizer.zero_grad()
            logits, _state = model(rows, torch.zeros(1, 64, 32))
            loss = nn.functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
