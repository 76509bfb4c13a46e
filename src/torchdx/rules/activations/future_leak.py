"""A model that is to tell what comes next in a sequence is shown it.

Seen as a training loss that falls to nearly nothing, and a model that writes nonsense. Measured at the end, on a copy
of a small model in evaluation mode (of others by the deep look, `torchdx run --deep`), where the targets are the
inputs one place further on: the second half of the inputs is replaced; the losses of the first half, whose targets
stay, must not change by a bit. Where the targets are the very inputs, not shifted, a model that reads in one
direction alone is shown each answer at the place where it is to give it. Where weights are masked for an order, as in a
PixelCNN or in MADE, no two places may see each other, by a kernel's mask or when inputs are replaced one by one.

Hurts because the next input is the answer. A model that can look at it copies it and learns nothing else; where it
writes by itself there is nothing to copy.

Helped by a causal mask in every attention (`is_causal=True` or `torch.triu` with `-inf` above the diagonal, which is
*added*; a boolean mask is True where attention is *not* allowed, but in `scaled_dot_product_attention` where it is), by
padding convolutions on the left alone, and by recurrence in one direction.

No fault when the target is another thing than the input shifted by one: a masked word, a label, a translation; nor in
an autoencoder, which gives back its input from what it has made of all of it.

Sources: A. Vaswani et al., arXiv 1706.03762, section 3.2.3; A. Karpathy, "A Recipe for Training Neural Networks"
(2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Fact, Layer, Record

code, family, severity = "TDX314", "activations", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"validation-gap", "not-learning"})

LEAKS = 1e-3
"""Change of the losses before the replaced inputs over that of those after. The two causal models at hand that predict
their next input, attention with a mask and a GRU, read exactly 0; attention without a mask 0.5."""


LOOKS_BACK = 1e-4
"""Change of the losses after replaced inputs over that of a place's own loss with its own input, where the target is
the input: a model that takes each place by itself reads 0, causal attention 0.06, a masked convolution that lets the
place itself in 69. One that shifts or masks its input by itself has no such change of its own: exactly 0."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Later inputs replaced, and earlier losses changed; or targets that are the inputs."""
    yield from _masked(record)
    if not record.process.all("replay"):
        return
    same = record.experiments.result("target_given")
    if same.get("same") and same["later"] == 0 and dict(readings(record)).get("LOOKS_BACK", 0.0) > LOOKS_BACK:
        yield _not_shifted(record, same)
        return
    told = record.experiments.result("future_leak")
    if not told:
        if record.process.all("future_leak") and record.process.last("future_leak").get("shifted"):
            yield NotEnough(record.experiments.why_not("future_leak"))
        return
    if dict(readings(record)).get("LEAKS", 0.0) <= LEAKS:
        return
    layer = record.experiments.layer("future_leak")
    named = f"from {layer.name} ({layer.cls}) on, " if layer is not None else ""
    yield Finding(
        message=f"{named}the model sees what it is to predict: targets are the inputs one place further on, and with "
        f"the inputs from place {told['place']} on replaced, losses before it change by up to {told['before']:.3g}",
        site=record.experiments.site("future_leak"),
        layer=layer.name if layer is not None else None,
        evidence={"change of earlier losses": told["before"], "change of later ones": told["after"]},
        cure="mask the future: a causal mask in each attention, padding on the left alone, one direction of recurrence",
        confidence=0.97,
    )


def _masked(record: Record) -> Iterator[Finding]:
    """A mask, or a network of masked layers, through which two places see each other."""
    for fact in record.process.all("mask"):
        layer = record.process.layers.get(str(fact["module"]))
        if layer is not None:
            row, column = fact["sees"]
            yield _out_of_order(
                layer,
                f"the mask of {layer.name} ({layer.cls}) lets a place see only what comes before it in its row, but "
                f"also the place {row} below and {column:+d} beside it, which in turn sees this one",
                "let the mask be zero in all rows below the middle one",
            )
            break
    for fact in record.process.all("order"):
        layer = record.process.layers.get(str(fact["module"]))
        if layer is not None and fact["mutual"]:
            one, other = fact["mutual"]
            yield _out_of_order(
                layer,
                f"the masks of {layer.name or layer.cls} give each variable those before it alone, but variables {one} "
                f"and {other} see each other: a part between is not masked",
                "mask every layer with weights between the inputs and the outputs",
            )
            break


def _out_of_order(layer: Layer, message: str, cure: str) -> Finding:
    return Finding(
        message=f"{message}: what the model is to tell is among what it is given",
        site=layer.site,
        layer=layer.name,
        cure=cure,
        confidence=0.9,
        severity="warning",
    )


def _not_shifted(record: Record, same: Fact) -> Finding:
    return Finding(
        message="the targets are the inputs, not shifted: the model reads in one direction, and what it is to give at "
        "a place is what it is given there, so that it can only learn to copy",
        site=site_of(record.experiments.replay.get("site")),
        evidence={
            "change of losses before replaced inputs": same["later"],
            "change of losses after them": same["earlier"],
            "change of their own": same["own"],
        },
        cure="let the target be the next input: inputs `x[:, :-1]`, targets `x[:, 1:]`; of a picture, keep each place "
        "from the first layer by its mask",
        confidence=0.9,
        severity="warning",
    )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    told = record.experiments.result("future_leak")
    if told and told.get("after", 0.0) > 0:
        yield "LEAKS", told["before"] / told["after"]
    same = record.experiments.result("target_given")
    if same.get("own", 0.0) > 0:
        yield "LOOKS_BACK", same["earlier"] / same["own"]


def sick() -> None:
    import torch
    from torch import nn

    class Writer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(27, 24)
            self.mix = nn.Conv1d(24, 48, 3, padding=1)  # TDX314
            self.out = nn.Linear(48, 27)

        def forward(self, letters: torch.Tensor) -> torch.Tensor:
            seen = self.mix(self.embed(letters).transpose(1, 2)).transpose(1, 2)
            logits: torch.Tensor = self.out(torch.relu(seen))
            return logits

    torch.manual_seed(0)
    text = "the cat sat on the mat while the other cat ran after a rat that had eaten all of the oats " * 20
    ids = torch.tensor([0 if letter == " " else ord(letter) - 96 for letter in text])
    model = Writer()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        starts = torch.randint(0, len(ids) - 13, (16,)).tolist()
        inputs = torch.stack([ids[k : k + 12] for k in starts])
        targets = torch.stack([ids[k + 1 : k + 13] for k in starts])
        loss = nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from torch import nn

    class Writer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(27, 24)
            self.mix = nn.Conv1d(24, 48, 3)
            self.out = nn.Linear(48, 27)

        def forward(self, letters: torch.Tensor) -> torch.Tensor:
            before = nn.functional.pad(self.embed(letters).transpose(1, 2), (2, 0))
            logits: torch.Tensor = self.out(torch.relu(self.mix(before).transpose(1, 2)))
            return logits

    torch.manual_seed(0)
    text = "the cat sat on the mat while the other cat ran after a rat that had eaten all of the oats " * 20
    ids = torch.tensor([0 if letter == " " else ord(letter) - 96 for letter in text])
    model = Writer()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        starts = torch.randint(0, len(ids) - 13, (16,)).tolist()
        inputs = torch.stack([ids[k : k + 12] for k in starts])
        targets = torch.stack([ids[k + 1 : k + 13] for k in starts])
        loss = nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    """Masked letters are told from both sides, and nothing is shown of them."""
    import torch
    from torch import nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(28, 24)
            self.mix = nn.Conv1d(24, 48, 5, padding=2)
            self.out = nn.Linear(48, 27)

        def forward(self, letters: torch.Tensor) -> torch.Tensor:
            seen = self.mix(self.embed(letters).transpose(1, 2)).transpose(1, 2)
            logits: torch.Tensor = self.out(torch.relu(seen))
            return logits

    torch.manual_seed(0)
    text = "the cat sat on the mat while the other cat ran after a rat that had eaten all of the oats " * 20
    ids = torch.tensor([0 if letter == " " else ord(letter) - 96 for letter in text])
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        starts = torch.randint(0, len(ids) - 13, (16,)).tolist()
        targets = torch.stack([ids[k : k + 12] for k in starts])
        hidden = torch.rand(targets.shape) < 0.15
        logits = model(targets.masked_fill(hidden, 27))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.masked_fill(~hidden, -100).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")
