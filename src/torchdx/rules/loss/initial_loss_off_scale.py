"""A classifier's first loss is far above log C, so it starts out confidently wrong.

Seen as a first training loss of several times log C, where C classes guessed alike cost log C nats (0.69 for 2, 2.30
for 10, 6.91 for 1000), and as a steep fall in the first steps that learns nothing but to be less sure.

Hurts because before it has seen anything a model can know nothing, and logits that differ claim that it does: logits
of deviation s cost about log C + s^2/2. The first steps, often the largest of all, are spent on taking that back, and
the layers below get gradients as many times too large as the weights that they come through.
Gradient descent, whose steps are as large as the gradient, suffers most: the case below, run from eight seeds, ends at
0.16 to 1.52, and its healthy twin at 0.08 to 0.12. Adam's steps do not grow with the gradient, and it may recover.

Helped by smaller initial weights of the last layer (PyTorch's default has deviation 1/sqrt(3 n) with n inputs), by
inputs of mean 0 and deviation 1, and by normalisation before the last layer.

No fault when weights were loaded, when classes are weighted or the loss is a sum or has other terms, or when a few
samples only went into the first loss. Label smoothing does not change the measure.

Sources: A. Karpathy, "A Recipe for Training Neural Networks" (2019), "verify loss @ init".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Fact, Layer, LossUse, Record

code, family, severity = "TDX605", "loss", "warning"
needs = frozenset({"loss"})
explains: frozenset[str] = frozenset()

OFF = 2.0
"""First loss over log C. Healthy programs read 0.98 to 1.10, and up to 1.7 with inputs of 0..16 (catalogue, cross
entropy at initialisation); logits of deviation 3 read 2.2."""

SAMPLES = 32
"""Labels that the first loss must be a mean of: of 16, with two classes and logits of deviation 1, one in 100 is OFF by
chance; of 4, one in 9."""

WIDE = 2.0
"""Deviation of the last weights over PyTorch's default from which they are the ones to blame."""


def in_run(record: Record) -> Iterator[Finding]:
    """The classifier's first loss, where nothing but a mean cross entropy of a fresh model went into it."""
    look, classes = _first_look(record), record.classes
    if look is not None and classes and look["value"] > OFF * math.log(classes):
        layer = _last_layer(record, look)
        if layer is not None:
            yield _finding(record, layer, look, look["value"], math.log(classes))
        elif not record.layers:
            yield _of_bare_weights(look["value"], math.log(classes))


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    look, classes = _first_look(record), record.classes
    if look is not None and classes:
        yield "OFF", look["value"] / math.log(classes)


def _first_look(record: Record) -> Fact | None:
    """The classifier's first loss, if it is plain and finite; else None."""
    use = record.classification
    look = next(use.calls(), None) if use is not None else None
    if use is None or look is None or (record.classes or 0) < 2 or not _is_plain(record, use, look):
        return None
    return look if math.isfinite(look.get("value") or math.nan) else None


def _is_plain(record: Record, use: LossUse, look: Fact) -> bool:
    """Is it the mean, over enough labels, of unweighted cross entropies, at step 1 of a model that was not loaded?"""
    kind = "log-probabilities" if use.function == "nll_loss" else "logits"
    return (
        look["step"] == 1
        and look["input"].get("like") == kind
        and sum((look["target"].get("counts") or {}).values()) >= SAMPLES
        and not use.option("weight")
        and use.option("reduction") in (None, "mean")
        and len({loss.function for loss in record.losses}) == 1
        and not any(parameter.loaded for parameter in record.parameters)
    )


def _last_layer(record: Record, look: Fact) -> Layer | None:
    """The layer with a row of weights for each class whose outputs are most like the logits; None if there is none."""
    made = [layer for layer in record.layers if layer.looks and _rows(layer) == record.classes]
    spread = look["input"].get("std", 0.0)
    return min(reversed(made), key=lambda layer: abs(layer.series("std").first - spread), default=None)


def _rows(layer: Layer) -> int | None:
    weight = layer.parameter("weight")
    return weight.shape[0] if weight is not None and weight.is_weight else None


def _of_bare_weights(first: float, uniform: float) -> Finding:
    """Of a network that is no module: its weights are known to be no layer's."""
    return Finding(
        message=f"before it has learnt anything the model is confidently wrong: its first loss is {first:.3g}, "
        f"{first / uniform:.1f} times the {uniform:.3g} of an even guess",
        evidence={"first loss": first, "log C (nats)": uniform, "first loss over log C": first / uniform},
        cure="start the weights smaller: random numbers of deviation 1 times the inputs' number to the power of -1/2",
        confidence=0.9,
    )


def _finding(record: Record, layer: Layer, look: Fact, first: float, uniform: float) -> Finding:
    weight = layer.parameter("weight")
    assert weight is not None
    initial = weight.initial.get("std", math.nan)
    usual = 1 / math.sqrt(3 * math.prod(weight.shape[1:]))
    wide = initial > WIDE * usual
    blame = f"; the weights of `{layer.name}` start with deviation {initial:.2g}, and {usual:.2g} is usual"
    return Finding(
        message=f"before it has learnt anything the model is confidently wrong: its first loss is {first:.3g}, "
        f"{first / uniform:.1f} times the {uniform:.3g} of an even guess{blame if wide else ''}",
        site=layer.site,
        layer=layer.name,
        evidence={
            "first loss": first,
            "log C (nats)": uniform,
            "first loss over log C": first / uniform,
            "std of the first logits": look["input"].get("std"),
            "label entropy H(Y) (nats)": record.label_entropy,
            "std of the last layer's initial weights": initial,
            "training loss": list(record.objective.finite.thinned(50).values),
        },
        cure=f"start `{layer.name}` with smaller weights (PyTorch's default has deviation {usual:.2g})"
        if wide
        else f"scale what reaches `{layer.name}`: inputs of mean 0 and deviation 1, normalisation, smaller weights",
        confidence=0.9,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(64, 64)
            self.out = nn.Linear(64, 10)  # TDX605
            nn.init.normal_(self.out.weight, std=3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.out(self.hidden(x).relu())
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(10):
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

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(64, 64)
            self.out = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.out(self.hidden(x).relu())
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(10):
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

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    criterion = nn.CrossEntropyLoss(reduction="sum", label_smoothing=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = criterion(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item() / len(rows):.3f}")
