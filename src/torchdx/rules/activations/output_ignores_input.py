"""The model answers the same whatever it is given.

Seen as a loss that stays at what a model without inputs would reach, and as predictions that are one and the same for
every sample; measured is by how much the outputs for different samples of a batch differ, over their own size.

Hurts because nothing of what tells samples apart arrives at the output, so the model can only learn the mean of the
targets, or how frequent each class is, with its last bias. The gradient with respect to all that lies before the place
where the input is lost is zero, or noise.

Helped by going through `forward` for the place where the input is lost: a variable that is overwritten or never used, a
mean or a normalisation over the batch, layers that give zero for everything, weights too small for the depth.

No fault when the output layer starts at zero and differences grow from step to step, when there is nothing to be learnt
from the inputs (some of the noise is fitted all the same), or when the inputs themselves are all alike.

Sources: A. Karpathy, "A Recipe for Training Neural Networks" (2019), "input-independent baseline".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough
from torchdx.record import Series, site_of
from torchdx.record.progress import main_loss
from torchdx.record.signal import signals_of

if TYPE_CHECKING:
    from torchdx.record import Fact, LossUse, Record

code, family, severity = "TDX312", "activations", "warning"
needs = frozenset({"loss", "input", "step"})
explains = frozenset({"not-learning", "one-class-predictions"})
follows = frozenset({"not-learning"})
"""Whatever keeps a model from learning may do so by losing the input on its way: any such fault explains this one."""

SAME = 1e-3
"""Differences between samples over the size of the outputs (catalogue, row 56). Twelve nets that ignore their input
(dead layers, deep sigmoids, weights too small, inputs overwritten or averaged) lie at 1.6e-4 and below; healthy ones,
before they have learnt anything, at 2.4e-3 and above (six ReLU layers), those of the zoo at 0.015 and above."""
EXACT = 2e-6
"""The same, where nothing but rounding is left: seven of the twelve lie below."""
GAIN = 0.02
"""Share of the prior's loss learnt away: what the examination takes for having learnt nothing."""
LITTLE = 0.15
"""The same where the outputs are equal exactly: then a loss below the prior is the luck of the last batches."""
GROWS = 2.0
"""Times the first differences that the last ones have grown to, where a model is on its way: a head that starts at zero
has tripled them by the eighth step, at a tenth of the usual rate; nets that ignore their input lie at 1.2 and below."""
ROUNDING = 1e-6
"""Differences over the size of outputs below which growth is not asked for."""
LOOKS = 4
"""Looks that must agree: the first four steps are always looked at."""
STEPS = 30
"""Optimizer steps before which nothing can have been learnt: the examination's own bound."""
INPUT = 1e-3
"""Differences between inputs over their size above which they are not all alike."""


@dataclass(frozen=True)
class _Answers:
    """Differences between the outputs for different samples, over the outputs' size, at each look."""

    differences: Series

    @property
    def greatest(self) -> float:
        """Of the latest looks, the greatest."""
        return self.differences.latest(LOOKS).highest

    @property
    def growth(self) -> float:
        first, last = (max(s.median, ROUNDING) for s in (self.differences.earliest(2), self.differences.latest(2)))
        return last / first


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """The model whose outputs do not differ, though its inputs do and its loss is that of a model without inputs."""
    use, progress = main_loss(record), record.progress
    answers = _answers(record, use)
    if use is None or not progress.prior or not progress.finite or not _inputs_differ(record):
        return
    if not answers.greatest < SAME or not answers.growth < GROWS:
        return
    if not progress.gain < (LITTLE if answers.greatest < EXACT else GAIN):
        return
    if len(answers.differences) < LOOKS or record.steps < STEPS:
        yield NotEnough(f"{STEPS} optimizer steps, {LOOKS} of them looked at, to tell whether outputs depend on inputs")
    else:
        yield _finding(record, use, answers)


def _answers(record: Record, use: LossUse | None) -> _Answers:
    calls = [look for look in use.calls() if look["step"] > record.latest_start] if use is not None else []
    return _Answers(Series.of((look["step"], _difference(look["input"])) for look in calls).finite)


def _difference(told: Fact) -> float | None:
    """Differences between samples over the RMS; None where they were not measured."""
    if "across" not in told or "mean" not in told:
        return None
    size = (told["mean"] ** 2 + told["std"] ** 2) ** 0.5
    return float(told["across"] / size) if size > 0 else 0.0


def _inputs_differ(record: Record) -> bool:
    looks = [_difference(fact) for fact in record.process.all("input")]
    return bool(looks) and all(look is not None and look > INPUT for look in looks)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    answers = _answers(record, main_loss(record))
    if len(answers.differences) >= LOOKS:
        yield "SAME", answers.greatest
        yield "EXACT", answers.greatest
        yield "GROWS", answers.growth
        yield "GAIN", record.progress.gain


def _finding(record: Record, use: LossUse, answers: _Answers) -> Finding:
    exact, progress = answers.greatest < EXACT, record.progress
    places = {str(fact.get("site")): fact.get("site") for fact in record.process.all("input")}
    site = site_of(next(iter(places.values()))) if len(places) == 1 else None
    lost = _lost_at(record)
    where = f"; the input is lost at `{lost}`" if lost else ""
    return Finding(
        message=f"the outputs are {'exactly ' if exact else ''}the same for all samples of a batch, to "
        f"{answers.greatest:.1g} of their size, though the inputs differ{where}; the loss stays at "
        f"{progress.last:.3g}, where a model without inputs would be ({progress.prior_name}: {progress.prior:.3g})",
        site=site or use.site,
        layer=lost,
        evidence={
            "differences between outputs, over their size": list(answers.differences.thinned(50).values),
            "steps": list(answers.differences.thinned(50).steps),
            "training loss": progress.last,
            progress.prior_name or "prior": progress.prior,
        },
        cure="look in `forward` for the place where the input is overwritten, averaged over the batch or multiplied "
        "by next to nothing",
        confidence=0.96 if exact else 0.75,
    )


def _lost_at(record: Record) -> str | None:
    """The first layer with weights whose outputs are the same for all samples, where those before it are not."""
    for signal in signals_of(record, 2):
        sizes = [layer.series("rms").first for layer in signal.layers]
        same = [one < EXACT * size for one, size in zip(signal.across, sizes, strict=True)]
        if any(same) and all(same[same.index(True) :]):
            return signal.layers[same.index(True)].name
    return None


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            centre = images.mean(dim=0, keepdim=True).expand_as(images)
            scores: torch.Tensor = self.outer(self.inner(centre).relu())
            return scores

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            scores = model(images[rows])  # TDX312
            loss = nn.functional.cross_entropy(scores, labels[rows])
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
            self.inner, self.outer = nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            centred = images - images.mean(dim=0, keepdim=True)
            scores: torch.Tensor = self.outer(self.inner(centred).relu())
            return scores

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            scores = model(images[rows])
            loss = nn.functional.cross_entropy(scores, labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    inputs = torch.randn(512, 16)
    targets = torch.randn(512, 1) + 0.7 * inputs[:, :1]
    head = nn.Linear(64, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), head)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs[rows]), targets[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
