"""Dropout takes nearly everything away.

Seen as a training loss that stays where it began, while the same model could learn without dropout.

Hurts because dropout at rate p multiplies what is left by 1 / (1 - p): each layer's output gets a noise of relative
variance p / (1 - p), which is 1 at the usual 0.5, 9 at 0.9, and grows as 1 / (1 - p) to the power of the layers. The
signal, and the gradient with it, drowns.

Helped by rates of 0.1 to 0.5; where the share to keep was meant, `p` is what is taken away.

No fault when the model learns all the same, as one with wide layers may.

Sources: N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15 (2014): 0.5
in hidden layers, 0.2 of inputs; PyTorch documentation, `torch.nn.Dropout`: p is the probability of an element to be
zeroed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Site
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Layer, Record

code, family, severity = "TDX412", "normalisation", "warning"
needs = frozenset({"module", "step"})
explains = frozenset(
    {
        *("vanishing-gradient", "one-class-predictions", "signal-lost-in-depth"),
        *("learning-rate-too-high", "loss-bounces", "exploding-gradient", "nonfinite-value", "initial-loss-off-scale"),
        *("non-finite", "diverged"),
        "not-learning",
    }
)

MUCH, NEARLY_ALL = 0.8, 0.9
"""Rate that every dropout of the model has at least: published ones go up to 0.5, and rarely 0.8 where the share to
keep is meant. Healthy programs with dropout: 0.05 to 0.5. NEARLY_ALL, the signal is a tenth of what comes out; one such
layer on its own is enough in a run that is stuck."""
STUCK, POOR = 0.2, 0.75
"""Share of the loss learnt away below which a run is stuck: vanishing-gradient's bound. With NEARLY_ALL taken away
everywhere, one is judged that learns POORly, as residual connections carry some of the signal around dropout: a
transformer at 0.97 learns 0.27, an LSTM at 0.92 0.66. Healthy programs with dropout learn 0.46 and more, at 0.3."""
SLOWED = 0.9
"""Share below which a run whose every dropout takes MUCH away is told of it, as advice, for it learns: a transformer at
0.8 learns 0.82, 0.97 at 0.05. No healthy program has such rates."""
STEPS = 30
"""Optimizer steps before which no net can be said to be stuck: the examination's own bound."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every model all of whose dropout is excessive, where little is learnt; or some of it, where nothing is."""
    gain = record.progress.gain
    if record.steps < STEPS or not gain < SLOWED:
        return
    for drops in _by_model(record):
        rates = [drop.rate for drop in drops]
        least = min(rates)
        everywhere = (least >= NEARLY_ALL and gain < POOR) or (least >= MUCH and gain < STUCK)
        some = max(rates) >= NEARLY_ALL and gain < STUCK
        if max(rates) < 1 and (least >= MUCH or some):
            worst = least if everywhere or not some else max(rates)
            drop = next(drop for drop in drops if drop.rate >= worst)
            where = "wherever it stands" if worst == least else "in a part of the model"
            yield Finding(
                message=f"dropout takes {worst:.0%} away or more, {where} ({len(drops)} layers): what "
                f"is left is multiplied by {1 / (1 - worst):.3g}, and the loss "
                + ("stays at" if everywhere or some else "comes down to")
                + f" {record.progress.last:.3g}",
                site=drop.site,
                layer=drop.name or None,
                evidence={"rates": rates, "share of the loss learnt": gain},
                cure=f"take a rate of 0.1 to 0.5; if {worst:g} is the share to keep, write p={1 - worst:.2g}",
                confidence=0.9 if everywhere else 0.75,
                severity=None if everywhere or some else "note",
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    by_model = _by_model(record)
    if by_model:
        yield "MUCH", max(min(drop.rate for drop in drops) for drops in by_model)
        yield "NEARLY_ALL", max(drop.rate for drops in by_model for drop in drops)
        yield "STUCK", record.progress.gain
        yield "POOR", record.progress.gain
        yield "SLOWED", record.progress.gain


@dataclass(frozen=True)
class Drop:
    """One place at which dropout is applied: its rate, the layer's name (empty for a function), and where it is."""

    rate: float
    name: str
    site: Site | None


def _by_model(record: Record) -> list[list[Drop]]:
    """The dropout of each model that does drop something; what is called as a function counts for each of them."""
    called = [Drop(fact["rate"], "", site_of(fact.get("site"))) for fact in record.process.all("dropping")]
    models: dict[int, list[Drop]] = {}
    for layer in record.layers:
        if (rate := _rate(layer)) > 0:
            models.setdefault(layer.model, []).append(Drop(rate, layer.name, layer.site))
    return [drops + called for drops in models.values()] or ([called] if called else [])


def _rate(layer: Layer) -> float:
    """The rate of a dropout layer, or that between the layers of a recurrent one."""
    recurrent = layer.cls in ("RNN", "LSTM", "GRU") and layer.config.get("num_layers", 1) > 1
    rate = layer.config.get("p") if "Dropout" in layer.cls else layer.config.get("dropout") if recurrent else None
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
