"""A sample's prediction depends on the other samples of its batch.

Seen as a model that learns less than it should, and whose predictions change with what else is in the batch. Measured
at the end, on a copy of a small model in evaluation mode (of others by the deep look, `torchdx run --deep`): one
sample's input is replaced, and the losses of the other samples (the outputs, where the loss is written by hand) are
looked at, which must not change by a bit.

Hurts because the samples of a batch are drawn at random: whatever one takes from another is noise. It comes of axes in
another order than a layer expects (an LSTM or attention without `batch_first=True` takes the batch for time), of `view`
where `permute` was meant, or of a statistic taken over axis 0.

Helped by `batch_first=True`, `x.transpose(0, 1)` before the layer and after it, or the right `dim`.

No fault when rows are not independent samples, as the nodes of a graph or the frames of a sequence are: only batches
that a DataLoader has put together are judged, and sequences or pictures with one answer for each; of sequences with an
answer for each place those that a recurrence reads, where reshaping lets an answer depend on another
place of another sequence, so that neither axis is that of the samples; of sequences with several answers each those
where only what `forward` does with a recurrence's outputs mixes them. Nor in batch norm without running statistics,
which mixes by design, nor where the samples are compared with each other, as in a contrastive loss.

Sources: A. Karpathy, "A Recipe for Training Neural Networks" (2019); the batch gradient check of pl_bolts; measured:
see MIXED.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough

if TYPE_CHECKING:
    from torchdx.record import Record

code, family, severity = "TDX313", "activations", "warning"
needs = frozenset({"replay"})
explains = frozenset(
    {"not-learning", "validation-gap", "cannot-fit-one-batch", "labels-unrelated", "future-leak", "forget-gate-shut"}
)

MIXED = 1e-3
"""Change of another sample's loss over the change of the sample's own. All 80 runs without this fault, 16 of them of
the healthy zoo, read exactly 0; a recurrence that takes the batch for time 0.08, attention over the batch 0.05 and
0.26, dimensions exchanged by `reshape` 3.5 and 4.2, and 0.05 where only an encoder's states are, in another place."""

_RECURRENT = ("RNN", "LSTM", "GRU")
_OF_PICTURES = ("Conv2d", "ConvTranspose2d", "Linear", "BatchNorm", "GroupNorm", "LayerNorm", "PReLU")
_MIXERS = (*_RECURRENT, "Conv", "Multihead", "Transformer")


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """One input replaced, and other samples' losses changed."""
    told = record.experiments.result("batch_mixing")
    if not told:
        if record.experiments.asked:
            yield NotEnough(record.experiments.why_not("batch_mixing"))
        return
    mixed = dict(readings(record)).get("MIXED", 0.0)
    judged = any(shows(record) for shows in _WAYS)
    if mixed <= MIXED or not judged or _mixes_by_design(record):
        return
    layer = record.experiments.layer("batch_mixing")
    named = f"from {layer.name} ({layer.cls}) on, " if layer is not None else ""
    what = "loss" if record.experiments.replay.get("fn") else "output"
    yield Finding(
        message=f"{named}samples of a batch are mixed: with one of {told['samples']} samples replaced, the {what} of "
        f"another changes by {told['other']:.3g} (its own by {told['own']:.3g})",
        site=record.experiments.site("batch_mixing"),
        layer=layer.name if layer is not None else None,
        evidence={f"change of another sample's {what}": told["other"], "change of its own": told["own"]},
        cure="give the layer its axes in the order it expects: `batch_first=True`, or transpose before and after it",
        confidence=0.9,
    )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    told = record.experiments.result("batch_mixing")
    if told and told["own"] > 0:
        yield "MIXED", told["other"] / told["own"]


def _is_of_samples(record: Record) -> bool:
    """Were the model's inputs batches as a loader put them together, or sequences with one answer for each row?"""
    replay = record.experiments.replay
    largest = max(replay.get("samples", ()), default=0)
    if not replay.get("fn") and len(record.optimizers) > 1:
        return False  # a discriminator may look at all of a batch
    if any(loader.batch_size == largest for loader in record.loaders):
        return True
    given = next((f for f in record.process.all("input") if f["module"] == replay.get("module")), {})
    shape, targets = given.get("shape", ()), replay.get("targets") or ()
    ordered = len(shape) > 2 or (len(shape) == 2 and "int" in given.get("dtype", ""))
    return ordered and math.prod(targets) == largest == shape[0] and shape[0] != shape[1]


def _is_crossed(record: Record) -> bool:
    """Does an answer depend on another place of another sequence, by what no layer of torch's own does?"""
    told = record.experiments.result("batch_mixing")
    if (told.get("across") or 0.0) <= MIXED * told["own"] or not any(one.cls in _RECURRENT for one in record.layers):
        return False
    layer = next((fact for fact in record.process.all("module") if fact["id"] == told["layer"]), None)
    return layer is not None and not (layer["torch"] and layer["cls"].startswith(_MIXERS))


def _is_put_together_wrongly(record: Record) -> bool:
    """Are sequences, each with several answers of its own, mixed by what `forward` itself does with layers' outputs?

    Nodes of a graph would have been mixed by a layer, or before one; where time comes first, places have targets.
    """
    replay, told = record.experiments.replay, record.experiments.result("batch_mixing")
    given = next((f for f in record.process.all("input") if f["module"] == replay.get("module")), {})
    shape, targets = list(given.get("shape", ())), list(replay.get("targets") or ())
    if told["layer"] != replay.get("module") or len(shape) != 3 or len(targets) != 2 or not replay.get("fn"):
        return False
    kinds = {one.cls for one in record.layers}
    recurrent = any(kind.startswith(_RECURRENT) for kind in kinds)
    return recurrent and shape[0] == targets[0] and targets[1] not in shape[:2] and targets[1] > 1


def _is_compared(record: Record) -> bool:
    """Is it one of two models the vectors of which are compared, each sample's with those of all others?"""
    replay = record.experiments.replay
    samples = max(replay.get("samples", ()), default=0)
    return not replay.get("fn") and any(fact["classes"] == samples for fact in record.process.all("similarity"))


def _is_of_pictures(record: Record) -> bool:
    """Are the inputs pictures, each with answers of its own, and is every layer one that reads a picture by itself?

    Frames of a film may know of each other by a recurrence or an attention, and what a generator paints by design.
    """
    replay = record.experiments.replay
    given = next((f for f in record.process.all("input") if f["module"] == replay.get("module")), {})
    shape, targets = list(given.get("shape", ())), list(replay.get("targets") or ())
    if len(shape) != 4 or targets[:1] != shape[:1] or not replay.get("fn") or len(record.optimizers) != 1:
        return False
    kinds = {layer.cls for layer in record.layers if layer.parameters}
    return "Conv2d" in kinds and all(kind.startswith(_OF_PICTURES) for kind in kinds)


_WAYS = (_is_of_samples, _is_crossed, _is_put_together_wrongly, _is_compared, _is_of_pictures)
"""How it is known that the first axis is that of samples, and that they are not to see each other."""


def _mixes_by_design(record: Record) -> bool:
    return any(layer.config.get("track_running_stats") is False for layer in record.layers)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.GRU(8, 16)
            self.out = nn.Linear(8 * 16, 10)  # TDX313

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            states, _ = self.rows(images.transpose(0, 1))
            logits: torch.Tensor = self.out(states.reshape(len(images), -1))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(images, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(2):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
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
            self.rows = nn.GRU(8, 16)
            self.out = nn.Linear(8 * 16, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            states, _ = self.rows(images.transpose(0, 1))
            logits: torch.Tensor = self.out(states.transpose(0, 1).reshape(len(images), -1))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(images, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(2):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    """Batch norm mixes samples, too, but in training mode alone; and time comes first here, as the layer expects."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.GRU(8, 32)
            self.norm = nn.BatchNorm1d(32)
            self.out = nn.Linear(32, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            states, _ = self.lstm(images.transpose(0, 1))
            logits: torch.Tensor = self.out(self.norm(states[-1]))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(images, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(3):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
