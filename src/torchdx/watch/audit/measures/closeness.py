"""Samples beside their nearest others: do these have the same label, and which of them are out of place?"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.audit.measures.targets import classes_of
from torchdx.watch.audit.pool import Pool
from torchdx.watch.audit.subjects import Subject

MOST, FEWEST = 2000, 60
"""Samples that are held beside each other, at most and at least."""

NEAR = 10
"""Nearest others that are asked."""

_SHUFFLES = 20


def standardised(features: Tensor) -> Tensor:
    """Each column with mean 0 and deviation 1, the constant ones 0; what is not finite counts as the mean."""
    rows = torch.nan_to_num(features.double(), nan=0.0, posinf=0.0, neginf=0.0)
    deviation = rows.std(0, correction=0)
    return (rows - rows.mean(0)) / torch.where(deviation > 0, deviation, torch.inf)


def comparable(pool: Pool, features: Tensor) -> Tensor:
    """Rows whose distances mean something: a picture's pixels as they are, the columns of a table each on its scale."""
    return features.double() if pool.layout in ("CHW", "HWC", "HW") else standardised(features)


def neighbours(pool: Pool, _: Subject) -> dict[str, Any] | None:
    """Votes of the nearest others, against those of shuffled labels, and as a mixture of the well and the ill labelled.

    `noise` is the share of samples in the lower of two binomials of the votes for a sample's own label, where these are
    a better model (`gain` in nats of the Bayesian criterion) than one beta-binomial, which is what plainly hard data
    give; `deviation_of_noise` its binomial standard error.
    """
    features, kinds = pool.features, classes_of(pool)
    if features is None or kinds is None or len(kinds) < FEWEST or len(set(kinds)) < 2:
        return None
    chosen = list(range(0, len(kinds), -(-len(kinds) // MOST)))
    rows = comparable(pool, features[chosen])
    names = sorted(set(kinds), key=str)
    classes = torch.tensor([names.index(kinds[k]) for k in chosen])
    distances = torch.cdist(rows, rows).fill_diagonal_(math.inf)
    nearest = distances.topk(NEAR, largest=False).indices
    agree = float((classes[nearest[:, 0]] == classes).double().mean())
    chance = torch.tensor([_chance(classes, nearest[:, 0], seed) for seed in range(_SHUFFLES)])
    votes = (classes[nearest] == classes[:, None]).sum(1)
    told: dict[str, Any] = {"samples": len(chosen), "classes": len(names), "agree": agree}
    told |= {"chance": float(chance.mean()), "deviation": float(chance.std()), **_noise(votes)}
    suspects = [k for k in range(len(chosen)) if votes[k] <= 1]
    told["suspects"] = [one for k in suspects if (one := _suspect(pool, chosen, k, classes, nearest, names))][:20]
    pool.suspects = [(one[0], f"{one[4]} of the {NEAR} nearest are {one[3]}") for one in told["suspects"]]
    return told


def _chance(classes: Tensor, nearest: Tensor, seed: int) -> float:
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(seed))
    shuffled = classes[order]
    return float((shuffled[nearest] == shuffled).double().mean())


def _suspect(pool: Pool, chosen: list[int], k: int, classes: Tensor, nearest: Tensor, names: list[Any]) -> Any:
    """[place, index, label, the label of those around, how many of them have it]."""
    common, count = Counter(classes[nearest[k]].tolist()).most_common(1)[0]
    place = chosen[k]
    return [place, pool.indices[place], names[int(classes[k])], names[common], count] if count > NEAR // 2 else None


def _noise(votes: Tensor) -> dict[str, Any]:
    """Two binomials of the votes, by expectation and maximisation, against one beta-binomial by its moments."""
    counts = torch.bincount(votes, minlength=NEAR + 1).double()
    n, k = float(counts.sum()), torch.arange(NEAR + 1, dtype=torch.float64)
    ways = torch.tensor([math.comb(NEAR, j) for j in range(NEAR + 1)], dtype=torch.float64).log()
    share, low, high = 0.2, 0.1, 0.9
    for _ in range(200):
        parts = [
            math.log(weight) + ways + k * math.log(p) + (NEAR - k) * math.log(1 - p)
            for weight, p in ((share, low), (1 - share, high))
        ]
        whole = torch.logaddexp(parts[0], parts[1])
        wrong = (parts[0] - whole).exp() * counts
        right = counts - wrong
        share = _inside(float(wrong.sum()) / n)
        low = _inside(float((wrong * k).sum()) / (NEAR * max(float(wrong.sum()), 1e-9)))
        high = _inside(float((right * k).sum()) / (NEAR * max(float(right.sum()), 1e-9)))
    two = float((counts * whole).sum()) - 1.5 * math.log(n)
    one = _beta_binomial(counts, k, ways) - math.log(n)
    deviation = math.sqrt(share * (1 - share) / n)
    return {"noise": share, "deviation_of_noise": deviation, "gain": two - one, "votes": [low, high]}


def _beta_binomial(counts: Tensor, k: Tensor, ways: Tensor) -> float:
    """The greatest log-likelihood of one beta-binomial, over a grid of means and of concentrations."""
    best = -math.inf
    for mean in torch.linspace(0.02, 0.98, 49, dtype=torch.float64):
        for size in torch.logspace(-1.5, 2, 29, dtype=torch.float64):
            a, b = mean * size, (1 - mean) * size
            found = ways + torch.lgamma(k + a) + torch.lgamma(NEAR - k + b) - torch.lgamma(NEAR + a + b)
            found = found - torch.lgamma(a) - torch.lgamma(b) + torch.lgamma(a + b)
            best = max(best, float((counts * found).sum()))
    return best


def _inside(share: float) -> float:
    return min(max(share, 1e-3), 1 - 1e-3)
