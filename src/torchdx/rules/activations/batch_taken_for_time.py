"""A recurrent layer or an attention takes the samples of a batch for the steps of a sequence.

Seen as a model that learns far less than it should, and whose predictions change with the rest of the batch. Measured
are the sizes of what a layer without `batch_first` is given: the first is, at every look, that of the batch. Where each
place has a target, the input one place on, that tells which axis is time, and an experiment on a copy at the end (of a
small model) whether this layer runs along the other.

Hurts because `nn.LSTM`, `nn.GRU`, `nn.RNN`, `nn.MultiheadAttention` and the layers of `nn.Transformer` read
(time, batch, features) unless told otherwise. Given (batch, time, features) they run from sample to sample: the state
at one sample is what other, unrelated samples left, and what came before it in its own sequence is never seen.

Helped by `batch_first=True`, or by `x.transpose(0, 1)` before the layer.

No fault when the first size is that of time after all, or samples shall see each other.

Sources: PyTorch documentation, `torch.nn.LSTM` and `torch.nn.TransformerEncoderLayer`, `batch_first`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Fact, Record

code, family, severity = "TDX316", "activations", "warning"
needs = frozenset({"axes"})
explains = frozenset(
    {
        "not-learning",
        "batch-mixing",
        "forget-gate-shut",
        "labels-unrelated",
        "one-class-predictions",
        "output-ignores-input",
        "overfitting",
        "train-eval-gap",
    }
)

LOOKS = 3
"""Looks at which the first size must be the number of targets, or the loader's batch size, and the second neither."""

MIXED = 1e-3
"""Change of another row's loss over the change of the row's own from which a layer mixes rows, as in `batch-mixing`:
where time is the second axis, seven healthy models that are to tell their next input read exactly 0; an LSTM that takes
the first for time 0.56."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every model's first layer over time whose first size is always that of the batch."""
    told = set()
    for fact, looks in _layers(record):
        wrong = looks if _is_across(record, fact) else [look for look in looks if _is_batch(record, look)]
        if len(wrong) < max(LOOKS, len(looks)) or fact["model"] in told:
            continue
        told.add(fact["model"])
        first, second, _ = wrong[0]["shape"]
        yield Finding(
            message=f"{fact['cls']} `{fact['name'] or fact['root']}` takes the first axis for time, and is given "
            f"{tuple(wrong[0]['shape'])}, where the first, {first}, is the batch: it runs from sample to sample, and "
            f"treats the {second} steps as separate",
            site=site_of(fact.get("site")),
            layer=fact["name"] or fact["root"],
            evidence={"shape": str(tuple(wrong[0]["shape"])), "looks": len(wrong)},
            cure=f"make {fact['cls']} with batch_first=True",
            confidence=0.93,
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The most looks at which a layer's first size was that of the batch."""
    counts = [sum(_is_batch(record, look) for look in looks) for _, looks in _layers(record)]
    if counts:
        yield "LOOKS", max(counts)
    mixing = record.experiments.result("batch_mixing")
    if counts and mixing.get("own"):
        yield "MIXED", mixing["other"] / mixing["own"]


def _layers(record: Record) -> Iterator[tuple[Fact, Sequence[Fact]]]:
    """Each layer over time, with its looks at which the sizes of its first two axes tell them apart."""
    for fact in record.process.all("module"):
        looks = [look for look in record.process.all("axes") if look["module"] == fact["id"]]
        looks = [look for look in looks if min(look["shape"][:2]) > 1 and look["shape"][0] != look["shape"][1]]
        if looks:
            yield fact, looks


def _is_across(record: Record, layer: Fact) -> bool:
    """Does it mix rows, though targets are the inputs one place further along the second axis, which is time?"""
    ahead, mixing = (record.experiments.result(what) for what in ("future_leak", "batch_mixing"))
    across = mixing.get("layer") == layer["id"] and mixing["other"] > MIXED * mixing["own"]
    return bool(across and ahead.get("axis") == 1 and ahead["before"] == 0)


def _is_batch(record: Record, look: Fact) -> bool:
    """Is the first size that of the targets or of the loader's batch, and the second certainly of neither?"""
    first, second, _ = look["shape"]
    targets = [call["target"].get("shape", []) for use in record.losses for call in use.calls() if _same(call, look)]
    if targets and any(not shape or second in shape for shape in targets):
        return False
    if targets and all(shape[0] == first for shape in targets):
        return True
    batches = [
        tensor["shape"]
        for loader in record.loaders
        for batch in loader.looks
        for tensor in batch["tensors"][:1]
        if _same(batch, look) and loader.batch_size not in (None, second)
    ]
    return bool(batches) and all(shape and shape[0] == first for shape in batches)


def _same(fact: Fact, look: Fact) -> bool:
    return bool(fact["step"] == look["step"])


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Reader(nn.Module):
        """Reads a picture row by row, from the top."""

        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.GRU(8, 32)  # TDX316
            self.head = nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states, _ = self.rows(x)
            logits: torch.Tensor = self.head(states[:, -1])
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
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

    class Reader(nn.Module):
        """Reads a picture row by row, from the top."""

        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.GRU(8, 32, batch_first=True)
            self.head = nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states, _ = self.rows(x)
            logits: torch.Tensor = self.head(states[:, -1])
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
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

    class Reader(nn.Module):
        """Time comes first, as the layer wants it: an attention over rows, and a GRU that tells each row's mean."""

        def __init__(self) -> None:
            super().__init__()
            self.mixed = nn.MultiheadAttention(8, 2)
            self.rows = nn.GRU(8, 32)
            self.head = nn.Linear(32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.mixed(x, x, x)[0]
            means: torch.Tensor = self.head(self.rows(x)[0]).squeeze(-1)
            return means

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32).transpose(0, 1) / 8 - 1
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(6):
        for rows in torch.randperm(inputs.shape[1]).split(64):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs[:, rows]), inputs[:, rows].mean(-1))
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
