"""Logits are cosine similarities times so small a number that their softmax is almost uniform, whatever is learnt.

Seen as a contrastive loss, or that of a classifier by angles, that begins near log N and hardly moves, while the
embeddings are all right or all alike. Measured in the autograd graph: the logits are products of vectors of one length,
times a number; the furthest that one can be from zero, and how many are compared.

Hurts because a cosine lies within [-1, 1], and s times it within [-s, s]: of N candidates, the right one is given at
most e^s / (e^s + (N - 1) e^-s), and the loss is at least log(1 + (N - 1) e^(-2 s)). With s = 0.1, as where similarities
are multiplied by a temperature of 0.1 and not divided by it, that is within 5 % of a guess; every pair, near or far,
pulls as strongly as any other.

Helped by dividing by the temperature (`z @ z.t() / 0.1`), or by a scale: 16 to 64 for cosines of classes.

No fault when the scale is learned, or the vectors are not normalised.

Sources: T. Chen et al., arXiv 2002.05709, section 5.1 and appendix B; F. Wang et al., arXiv 1704.06369, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Fact, Record

code, family, severity = "TDX633", "loss", "warning"
needs = frozenset({"similarity"})
explains = frozenset(
    {
        "not-learning",
        "overfitting",
        "validation-gap",
        "vanishing-gradient",
        "learning-rate-too-low",
        "output-ignores-input",
        "one-class-predictions",
        "class-never-right",
    }
)

LOOKS = 3
"""Times that the softmax was seen."""

BOUND = 0.75
"""The furthest from zero that a logit can be: from 2 on (temperatures to 0.5) in programs that work, from 0.05 to 0.5
where a temperature is multiplied by."""

UNSCALED = 1.01
"""Cosines as they are, with neither a temperature nor a scale: worth a note where the floor is high."""

SHARE = 0.5
"""The least loss that there can be, over that of a guess: to 0.4 in programs that work, with 512 candidates at a
temperature of 0.5; from 0.6 on where cosines are made smaller."""


class Reading(NamedTuple):
    """Medians over the looks at one place."""

    bound: float
    classes: float
    floor: float
    looks: int
    objective: float

    @property
    def share(self) -> float:
        """The floor, over the loss of a guess."""
        return self.floor / math.log(self.classes)


def in_run(record: Record) -> Iterator[Finding]:
    """Every softmax of similarities whose loss cannot fall far below that of a guess."""
    lines = {str(fact["site"]): fact["line"] for fact in record.process.all("similarity_line")}
    for place, reading in _readings(record).items():
        if reading.looks < LOOKS or reading.bound > UNSCALED or reading.share < SHARE:
            continue
        small = reading.bound <= BOUND
        yield Finding(
            message=f"the logits are cosine similarities {'times a small number' if small else 'as they are'}, within "
            f"±{reading.bound:.3g}: of {reading.classes:.0f} candidates, a guess costs "
            f"{math.log(reading.classes):.3g}, and the loss cannot fall below {reading.floor:.3g}, whatever is learnt",
            site=site_of(lines.get(place, _sites(record)[place])),
            evidence={
                "logits within": reading.bound,
                "candidates": reading.classes,
                "least loss": reading.floor,
                "loss of a guess": math.log(reading.classes),
                "objective": reading.objective,
            },
            cure="divide similarities by the temperature (0.05 to 0.5), or multiply them by a scale of 10 and more",
            confidence=0.95 if small else 0.8,
            severity="warning" if small else "note",
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """Of the flattest softmax: how far its logits can go, and how high its floor is."""
    found = [reading for reading in _readings(record).values() if reading.looks >= LOOKS]
    if found:
        flattest = max(found, key=lambda reading: reading.share)
        yield "BOUND", flattest.bound
        yield "UNSCALED", flattest.bound
        yield "SHARE", flattest.share
        yield "LOOKS", flattest.looks


def _readings(record: Record) -> dict[str, Reading]:
    """What each place reads."""
    places: dict[str, list[Fact]] = {}
    for fact in record.process.all("similarity"):
        places.setdefault(str(fact["site"]), []).append(fact)
    return {
        place: Reading(
            bound=median(fact["bound"] for fact in facts),
            classes=median(fact["classes"] for fact in facts),
            floor=median(fact["floor"] for fact in facts),
            looks=len(facts),
            objective=facts[-1]["objective"],
        )
        for place, facts in places.items()
    }


def _sites(record: Record) -> dict[str, object]:
    return {str(fact["site"]): fact["site"] for fact in record.process.all("similarity")}


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn.functional import cross_entropy, normalize

    torch.manual_seed(0)
    digits = torch.tensor(load_digits().data / 16, dtype=torch.float32) - 0.3
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(3):
        for rows in torch.randperm(len(digits)).split(64):
            one, other = (normalize(model(digits[rows] + 0.1 * torch.randn(len(rows), 64)), dim=1) for _ in range(2))
            similarity = one @ other.t() * 0.1  # TDX633
            loss = cross_entropy(similarity, torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn.functional import cross_entropy, normalize

    torch.manual_seed(0)
    digits = torch.tensor(load_digits().data / 16, dtype=torch.float32) - 0.3
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(3):
        for rows in torch.randperm(len(digits)).split(64):
            one, other = (normalize(model(digits[rows] + 0.1 * torch.randn(len(rows), 64)), dim=1) for _ in range(2))
            similarity = one @ other.t() / 0.1
            loss = cross_entropy(similarity, torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
