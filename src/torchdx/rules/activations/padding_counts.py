"""What a model says of a sample depends on the padding that other samples of its batch made necessary.

Seen as a model of sequences or sets that learns less than it should, worst of the short ones, and that gives another
answer when a sample comes alone or in another batch. Measured at the end, on a copy of a small model in evaluation mode
(of others by the deep look, `torchdx run --deep`): padding is recognised in one batch (runs of one constant at the
ends of samples, of different lengths, or what a mask or the lengths say); ten samples are given once more with theirs
cut off, and the outputs, at real places only, are compared. A model that leaves padding out gives the same.

Hurts because padding is no data: a recurrence goes on forgetting while it reads it (`out[:, -1]` and `h_n` are its
state after the padding), a mean over it divides by the length of the longest sample, attention spends its weights on
it; and how much there is depends on chance.

Helped by `pack_padded_sequence(..., enforce_sorted=False)`, the state at `lengths - 1`, a mean, maximum or softmax
under a mask, `key_padding_mask`.

No fault when what stands at the end is data: a batch of numbers counts as padded only if lengths or a mask are given
with it or batches differ in length; padding at the start is not judged. A note alone where the effect is small, as in
convolutions below a maximum over time, where it comes of convolutions that reach over the end of a sample, where each
place has an answer that a recurrence gives from both sides, and where all batches have one length.

Sources: PyTorch documentation, `torch.nn.utils.rnn.pack_padded_sequence`, `torch.nn.MultiheadAttention`
(`key_padding_mask`); M. Dwarampudi and N. V. S. Reddy, "Effects of padding on LSTMs and CNNs" (2019);
measured: see TOLD.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from torchdx.finding import Finding, NotEnough, Severity
from torchdx.record.anatomy import site_of

if TYPE_CHECKING:
    from torchdx.record import Record

code, family, severity = "TDX317", "activations", "warning"
needs = frozenset({"padding"})
_BROUGHT = ("one-class-predictions", "class-never-right", "forget-gate-shut")
explains = frozenset({"not-learning", "validation-gap", "cannot-fit-one-batch", *_BROUGHT})

TOLD = 0.1
"""Change of a sample's output without padding, over the spread between samples (both root mean squares), from which
it is a warning where the model is given lengths or a mask. Healthy programs, of any kind, read below 3e-7 (twenty);
states read after the padding 0.3 to 1.6 (five), a set's mean and maximum over padding 0.27 and 0.15, attention without
its mask 0.36, pooling by a learnt attention without a mask 0.05 and 0.09."""

UNTOLD = 0.25
"""The same where it is given neither. States after the padding read 0.33 to 1.1, means over it 0.21 to 0.6, attention
0.3; what is customary and does little harm, as convolutions and a maximum over time, 0.06 to 0.16."""

EDGES = 0.5
"""Change up to which it is a note where a convolution takes it in first, at the end of a sample: two of them with batch
norms, before a packed recurrence and a mean under a mask, read 0.13 and 0.26."""

MANY = 0.02
"""Change of the middle sample, likewise: an effect on a few short ones alone is a note."""

SMALL = 0.03
"""Change from which it is told at all."""

_RECURRENT = ("RNN", "LSTM", "GRU")
_ATTENTION = ("Multihead", "Transformer")


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """One fact; how sure and how grave depends on what the model is told, and on how much it matters."""
    told = record.experiments.result("padding")
    if not told:
        if record.process.last("padding"):
            yield NotEnough(f"an experiment on a copy, which was not made: {record.process.last('padding').get('why')}")
        return
    read = dict(readings(record))
    apart = len(told["batches"]) > 1
    if not read or read["SMALL"] < SMALL or not (told["told"] or told["indices"] or apart):
        return
    yield _finding(record, told, read["SMALL"], _severity(record, told, read))


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    told = record.experiments.result("padding")
    if told and told["spread"] > 0:
        change = sqrt(fmean((one / told["spread"]) ** 2 for one in told["moved"]))
        yield "SMALL", change
        yield ("TOLD" if told["told"] else "UNTOLD"), change
        if not told["told"]:
            yield "MANY", median(told["moved"]) / told["spread"]
        if told["parting"].get("by_place") and _is_kind(record, told, "layer", ("Conv",)):
            yield "EDGES", change


def _severity(record: Record, told: Mapping[str, Any], read: Mapping[str, float]) -> Severity:
    if told["by_place"] and _is_kind(record, told, "layer", _RECURRENT):
        return "note"
    if "EDGES" in read and read["EDGES"] <= EDGES:
        return "note"
    if told["told"]:
        return "warning" if read["TOLD"] > TOLD else "note"
    return "warning" if read["UNTOLD"] > UNTOLD and read["MANY"] > MANY and len(told["batches"]) > 1 else "note"


def _finding(record: Record, told: Mapping[str, Any], change: float, severity: Severity) -> Finding:
    how, cure = _way(record, told)
    layer = record.process.layers.get(str(told["parting"].get("layer")))
    return Finding(
        message=f"what is said of a sample depends on the padding at its end: cut off, its output changes by "
        f"{change:.0%} of the spread between samples; {how}",
        site=site_of(told["parting"].get("call")) or (layer.site if layer is not None else None),
        layer=layer.name if layer is not None else None,
        evidence={
            "change of the output without padding, over the spread": change,
            "changes": told["moved"],
            "real places of these samples": told["alone"],
            "spread of outputs": told["spread"],
            "places with padding": told["places"],
            "padding": told["value"],
            "the model is given": told["told"] or "neither lengths nor a mask",
        },
        cure=cure,
        confidence=0.95 if told["told"] else 0.85,
        severity=severity,
    )


def _way(record: Record, told: Mapping[str, Any]) -> tuple[str, str]:
    """In words, how padding gets in, and what helps."""
    layers, parting = record.process.layers, told["parting"]
    before, first = (layers.get(str(parting.get(key))) for key in ("before", "layer"))
    if before is not None and not parting.get("by_place") and before.cls in _RECURRENT:
        way = f"the state that {before.name} ({before.cls}) has after the padding is read"
        return way, "`pack_padded_sequence(x, lengths, enforce_sorted=False)`, or read the output at `lengths - 1`"
    if first is not None and parting.get("by_place"):
        way = f"{first.name} ({first.cls}) takes it in"
        if first.cls in _RECURRENT:
            return way, "`pack_padded_sequence(x, lengths, enforce_sorted=False)`: backwards, padding comes first"
        if first.cls.startswith(_ATTENTION):
            return way, "tell the attention which places are padding: `key_padding_mask` (`src_key_padding_mask`)"
        return way, "put zeros at the padded places before it, or mask them where places are brought together"
    of = f"what {before.name} ({before.cls}) gives" if before is not None else "what there is of each place"
    where = f" on the way to {first.name} ({first.cls})" if first is not None else ""
    way = f"{of} is brought together over padding, too{where}"
    cure = "leave padding out under a mask: sum the real places and divide by their number (-inf before a softmax)"
    attends = any(layer.cls.startswith(_ATTENTION) for layer in record.layers)
    return way, cure + ("; in attention it is `key_padding_mask`" if attends else "")


def _is_kind(record: Record, told: Mapping[str, Any], which: str, kinds: tuple[str, ...]) -> bool:
    layer = record.process.layers.get(str(told["parting"].get(which)))
    return layer is not None and layer.cls.startswith(kinds)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn.utils.rnn import pad_sequence

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.GRU(8, 24, batch_first=True)
            self.out = nn.Linear(24, 10)

        def forward(self, images: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            states, _ = self.rows(images)
            logits: torch.Tensor = self.out(states[:, -1])  # TDX317
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
    labels, lengths = torch.tensor(digits.target), torch.randint(4, 9, (len(images),))
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        for rows in torch.randperm(len(images)).split(64):
            batch = pad_sequence([images[row, : lengths[row]] for row in rows], batch_first=True)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch, lengths[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn.utils.rnn import pad_sequence

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.GRU(8, 24, batch_first=True)
            self.out = nn.Linear(24, 10)

        def forward(self, images: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            states, _ = self.rows(images)
            logits: torch.Tensor = self.out(states[torch.arange(len(lengths)), lengths - 1])
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
    labels, lengths = torch.tensor(digits.target), torch.randint(4, 9, (len(images),))
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        for rows in torch.randperm(len(images)).split(64):
            batch = pad_sequence([images[row, : lengths[row]] for row in rows], batch_first=True)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch, lengths[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    """A mean of all places, but padding is told to the attention, and is zero in the sum that is divided by lengths."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn.utils.rnn import pad_sequence

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lift = nn.Linear(8, 24)
            self.mix = nn.MultiheadAttention(24, 2, batch_first=True)
            self.out = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 10))
            self.places = nn.Parameter(torch.randn(8, 24) * 0.1)

        def forward(self, images: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            padded = torch.arange(images.shape[1]) >= lengths[:, None]
            rows = self.lift(images) + self.places[: images.shape[1]]
            rows = rows + self.mix(rows, rows, rows, key_padding_mask=padded)[0]
            rows = rows.relu().masked_fill(padded[..., None], 0)
            logits: torch.Tensor = self.out(rows.sum(1) / lengths[:, None])
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
    labels, lengths = torch.tensor(digits.target), torch.randint(4, 9, (len(images),))
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        for rows in torch.randperm(len(images)).split(64):
            batch = pad_sequence([images[row, : lengths[row]] for row in rows], batch_first=True)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch, lengths[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
