"""Dropout takes nearly everything away.

Seen as a training loss that stays where it began, while the same model could learn without dropout.

Hurts because dropout at rate p multiplies what is left by 1 / (1 - p): each layer's output gets a noise of relative
variance p / (1 - p), which is 1 at the usual 0.5, 9 at 0.9, and grows as 1 / (1 - p) to the power of the layers. The
signal, and the gradient with it, drowns.

Helped by rates of 0.1 to 0.5; where the share to keep was meant, `p` is what is taken away.

No fault when the model learns all the same, as one with wide layers may, or when one layer of many drops much.

Sources: N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15 (2014): 0.5
in hidden layers, 0.2 of inputs; PyTorch documentation, `torch.nn.Dropout`: p is the probability of an element to be
zeroed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Layer, Record

code, family, severity = "TDX412", "normalisation", "warning"
needs = frozenset({"module", "step"})
explains = frozenset(
    {
        *("vanishing-gradient", "one-class-predictions", "signal-lost-in-depth"),
        *("learning-rate-too-high", "loss-bounces"),
        "not-learning",
    }
)

MUCH = 0.8
"""Rate that every dropout of the model has at least: published ones go up to 0.5, and rarely 0.8 where the share to
keep is meant. Healthy programs with dropout: 0.05 to 0.5."""
STUCK = 0.2
"""Share of the loss learnt away below which a run is stuck: vanishing-gradient's bound."""
STEPS = 30
"""Optimizer steps before which no net can be said to be stuck: the examination's own bound."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every model all of whose dropout is excessive, where nothing is learnt."""
    if record.steps < STEPS or not record.progress.gain < STUCK:
        return
    for drops in _by_model(record):
        rates = [_rate(layer) for layer in drops]
        if min(rates) >= MUCH and max(rates) < 1:
            kept = 1 - min(rates)
            yield Finding(
                message=f"dropout takes {min(rates):.0%} away or more, wherever it stands ({len(drops)} layers): what "
                f"is left is multiplied by {1 / kept:.3g}, and the loss stays at {record.progress.last:.3g}",
                site=drops[0].site,
                layer=drops[0].name or None,
                evidence={"rates": rates, "share of the loss learnt": record.progress.gain},
                cure=f"take a rate of 0.1 to 0.5; if {min(rates):g} is the share to keep, write p={kept:.2g}",
                confidence=0.9,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    least = [min(_rate(layer) for layer in drops) for drops in _by_model(record)]
    if least:
        yield "MUCH", max(least)
        yield "STUCK", record.progress.gain


def _by_model(record: Record) -> Iterator[list[Layer]]:
    """The dropout layers of each model that do drop something."""
    models: dict[int, list[Layer]] = {}
    for layer in record.layers:
        if layer.leaf and "Dropout" in layer.cls and _rate(layer) > 0:
            models.setdefault(layer.model, []).append(layer)
    yield from models.values()


def _rate(layer: Layer) -> float:
    rate = layer.config.get("p")
    return float(rate) if isinstance(rate, int | float) else 0.0


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    drops = [nn.Dropout(0.95) for _ in range(3)]  # TDX412
    layers = [layer for drop in drops for layer in (nn.Linear(64, 64), nn.Tanh(), drop)]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
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

    torch.manual_seed(0)
    digits = load_digits()
    inputs, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    drops = [nn.Dropout(0.05) for _ in range(3)]
    layers = [layer for drop in drops for layer in (nn.Linear(64, 64), nn.Tanh(), drop)]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
