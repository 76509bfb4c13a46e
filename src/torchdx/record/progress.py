"""How far training got, on a scale that has a meaning: where the loss began, ended, and what knowing nothing costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from statistics import median
from typing import TYPE_CHECKING

from torchdx.record.anatomy import LossUse
from torchdx.record.series import Series

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.facts import Fact

EARLIEST = 5
"""Losses at the start that are averaged."""

LATEST = 10
"""Steps at the end whose losses are averaged, at least; else the last twentieth."""

LEAVES = 0.9
"""Share of what knowing nothing costs at which the loss has left it."""

UNSURE, ROUGH = 0.1, 10
"""Standard error of the last losses, over what the training began with, beyond which more of them are averaged, and how
many: one batch of targets with a heavy tail costs half as much as another, or three times."""

TOLD_BY = 200
"""Targets of an evaluation whose squared error tells more than so rough a loss of batches does."""

OTHER = 1.5
"""Times the loss's own value that an objective of more terms may be and still be measured by the loss's scale."""


ROWS = 200
"""Rows of answers seen from which the frequency of each answer in them is known well enough."""


@dataclass(frozen=True)
class Progress:
    """The loss of the latest training: at its very start, and, smoothed, at first, at last, its lowest and highest.

    `prior` is the loss of a model that sees no inputs, in the loss's own unit: H(Y) for a classifier, the targets'
    variance for squared errors. None where the loss has no such scale. `waited` is for how many steps the smoothed loss
    stood there, or at its first value if that is lower.
    """

    start: float = math.nan
    first: float = math.nan
    last: float = math.nan
    best: float = math.nan
    worst: float = math.nan
    earlier: float = math.nan
    later: float = math.nan
    fall_error: float = math.inf
    prior: float | None = None
    prior_name: str = ""
    finite: bool = True
    plain: bool = False
    waited: int = 0

    @property
    def learnt(self) -> float:
        """As `gain`, but at most of what the training began with: a head start is not learnt."""
        return min(self.gain, 1 - self.last / self.first) if self.first > 0 else self.gain

    @property
    def fall(self) -> float:
        """By which share the loss still fell from the middle third of the steps to the last; NaN if not positive."""
        return 1 - self.later / self.earlier if self.earlier > 0 and self.later > 0 else math.nan

    @property
    def sure_fall(self) -> float:
        """What is left of the fall, two standard errors taken off: losses of batches differ by chance."""
        return self.fall - 2 * self.fall_error

    @property
    def gain(self) -> float:
        """Which share of the loss was learnt away: of the prior where there is one, else of the first loss.

        NaN for a loss that is not positive, as its zero means nothing.
        """
        base = self.prior if self.prior and self.prior > 0 else self.first
        if not (base > 0 and self.last > 0):
            return math.nan
        return 1 - self.last / base


def progress_of(record: Record) -> Progress:
    """Put the run's loss on its scale."""
    use = main_loss(record)
    series = loss_series(record, use).between(record.latest_start + 1, record.steps)
    prior, name = prior_of(record, use)
    scale = _scale(series, use.series()) if use is not None else None
    if prior and use is not None:
        prior = prior * _terms(use) * scale if scale else None
    finite = series.finite
    whole = len(finite) == len(series) and not record.nonfinite
    if not finite:
        return Progress(prior=prior, prior_name=name, finite=whole, plain=scale is not None)
    window = max(1, min(len(finite) // 10, 50))
    means = _means(finite, window)
    begin, end = finite.steps[0], finite.steps[-1]
    third = (end - begin) // 3
    earlier, later = _over(finite, begin + third, end - third), _over(finite, end - third + 1, end)
    first = finite.earliest(min(window, EARLIEST)).mean
    latest = _over(finite, end - max(LATEST, (end - begin) // 20), end)
    return Progress(
        start=finite.first,
        first=first,
        last=_rough_end(record, finite, prior) if _is_rough(finite, latest, prior or first) else latest.mean,
        best=min(means),
        worst=max(means),
        earlier=earlier.mean,
        later=later.mean,
        fall_error=math.hypot(earlier.error, later.error) / abs(earlier.mean) if earlier.mean else math.inf,
        prior=prior,
        prior_name=name,
        finite=whole,
        plain=scale is not None,
        waited=_waited(finite, prior),
    )


def _is_rough(series: Series, latest: Series, base: float) -> bool:
    """Do the latest losses lie so far apart that the mean of so few of them says little?"""
    usual = series.latest(ROUGH)
    error = usual.error * math.sqrt(len(usual) / len(latest))
    return len(series) > 2 * ROUGH and base > 0 and math.isfinite(error) and error > UNSURE * base


def _rough_end(record: Record, series: Series, prior: float | None) -> float:
    """Where such a loss ended: as the mean of more batches, or as an evaluation tells that saw nothing learnt."""
    mean = series.latest(ROUGH).mean
    told = [
        look["value"] / look["target"]["std"] ** 2
        for use in record.losses
        for look in use.calls("eval")
        if use.function == "mse_loss" and look["target"].get("std") and math.prod(look["target"]["shape"]) >= TOLD_BY
    ]
    return max(mean, prior * min(told[-1], 1.0)) if prior and told and told[-1] > LEAVES else mean


def main_loss(record: Record) -> LossUse | None:
    """The loss that training is judged by: the classifier's if there is one, else the one called most."""
    if record.classification:
        return record.classification
    return next((use for use in record.losses if any(True for _ in use.calls())), None)


def loss_series(record: Record, use: LossUse | None) -> Series:
    """The training loss over steps: the objective, or the loss calls' own values where no objective was seen."""
    if record.objective:
        return record.objective
    return use.series() if use else Series()


def prior_of(record: Record, use: LossUse | None) -> tuple[float | None, str]:
    """The loss of a model that sees no inputs, and what that number is called; None where the loss has no scale."""
    if use is None or len({u.function for u in record.losses}) > 1:
        return None, ""
    if use.option("weight") or use.option("pos_weight"):
        return None, ""
    if use is record.classification:
        return record.label_entropy, "label entropy H(Y)"
    if use.function == "mse_loss":
        spreads = [look["target"].get("std") for look in use.calls() if look["target"].get("std")]
        if spreads:
            return sum(s * s for s in spreads) / len(spreads), "variance of the targets"
    if use.function.startswith("binary_cross_entropy"):
        return _binary_entropy(use), "label entropy H(Y)"
    return None, ""


def _binary_entropy(use: LossUse) -> float | None:
    looks = [look["target"] for look in use.calls() if look["target"].get("mean") is not None]
    crisp = all(abs(t["std"] ** 2 - t["mean"] * (1 - t["mean"])) < 1e-3 for t in looks)
    share = sum(t["mean"] for t in looks) / len(looks) if looks else 0.0
    if not crisp or not 0 < share < 1:
        return None
    return min(_entropy(share), _entropy_by_column(looks))


def _entropy_by_column(looks: Sequence[Fact]) -> float:
    """The mean entropy of the answers in a row, each of which has its own frequency; infinite where few were seen."""
    columns = {len(look.get("shares", ())) for look in looks}
    rows: list[int] = [look["shape"][0] for look in looks]
    if columns == {0} or len(columns) > 1 or sum(rows) < ROWS:
        return math.inf
    shares: list[float] = [
        sum(map(mul, rows, each)) / sum(rows) for each in zip(*(look["shares"] for look in looks), strict=True)
    ]
    return math.fsum(map(_entropy, shares)) / len(shares) + 1 / (2 * sum(rows))  # G. Miller's correction


def _entropy(share: float) -> float:
    return -math.fsum(p * math.log(p) for p in (share, 1 - share) if p > 0)


def _terms(use: LossUse) -> float:
    """Over how many terms a loss is summed up, on average; 1 for a mean."""
    counts = [math.prod(look["target"].get("shape", ())) for look in use.calls()]
    return sum(counts) / len(counts) if use.option("reduction") == "sum" and counts else 1.0


def _scale(objective: Series, loss: Series) -> float | None:
    """What the loss is multiplied by before `backward`: 1 / 4 in accumulation over 4, 65536 by a gradient scaler.

    1 where other terms are added to it that weigh little, None where the objective is another thing than the loss.
    """
    values = dict(loss.finite)
    times = [value / values[step] for step, value in objective.finite if values.get(step)]
    if not times:
        return 1.0
    usual = median(times)
    if usual > 0 and all(abs(one / usual - 1) < 0.01 for one in times):
        return usual
    return 1.0 if 1 / OTHER < usual < OTHER else None


def _over(series: Series, first: int, last: int) -> Series:
    """The values of these steps; the two latest where none was taken in them."""
    return series.between(first, last) or series.latest(2)


def _waited(series: Series, prior: float | None) -> int:
    """Steps until a window's mean first lies clearly below what the training began with."""
    steps, values = series.steps, series.values
    window = max(1, min(len(values) // 20, 20))
    base = min(sum(values[:EARLIEST]) / len(values[:EARLIEST]), prior or math.inf)
    sums = [sum(values[k : k + window]) for k in range(0, len(values) - window + 1)]
    left = next((k for k, total in enumerate(sums) if total < LEAVES * base * window), None) if base > 0 else 0
    return steps[-1] - steps[0] if left is None else steps[left] - steps[0]


def _means(series: Series, window: int) -> list[float]:
    """The means of windows that follow each other."""
    values = series.values
    return [sum(values[k : k + window]) / window for k in range(0, len(values) - window + 1, window)]
