"""Batches are so large that their gradients hardly differ: most of the work of each step changes nothing.

Seen as training that takes as many epochs again for every doubling of the batch. Measured by the deep look
(`torchdx run --deep`): the gradients of kept batches, and of their quarters, tell how much of a batch's gradient is
that of all data, |G|^2, and how much is the chance of which samples it holds, tr(S) / B. Their ratio tr(S) / |G|^2 is
the gradient noise scale: the batch whose gradient is as much signal as noise.

Hurts because with batches of B samples the steps to a given loss are about 1 + N / B times the least that would do,
where N is the noise scale, and the samples 1 + B / N times the least. At ten times the noise scale nine of ten samples
are spent on a tenth fewer steps.

Helped by smaller batches, and a learning rate that is smaller in proportion (SGD) or by the square root (Adam); or by
leaving them as they are where the steps, not the samples, cost the time.

No fault when a larger batch takes no longer, as of a small network or on an idle accelerator, or when the loss needs
large batches, as contrastive ones. So this is a note, and the noise scale grows as the loss falls: it is told for the
weights in the end.

Sources: McCandlish, Kaplan, Amodei et al., "An Empirical Model of Large-Batch Training" (2018), equations 2.7 and 2.8
and appendix A.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.experiments import Noise

code, family, severity = "TDX708", "schedules", "note"
deep = True
needs = frozenset({"deep"})
explains: frozenset[str] = frozenset()

BEYOND = 10.0
"""Times the noise scale from which a batch spends nine of ten samples on a tenth fewer steps (McCandlish et al., eq.
2.7), both at their standard errors' far side."""
ERRORS = 2.0
"""Standard errors by which |G|^2 and tr(S) may be off: about 95 % of a normal distribution."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """The noise of the batches with the weights in the end."""
    noise = record.experiments.noise("final")
    if noise is None:
        yield NotEnough(record.experiments.why_not("noise"))
        return
    beyond = dict(readings(record)).get("BEYOND", 0.0)
    if beyond <= BEYOND:
        return
    yield Finding(
        message=f"batches of {noise.samples} samples are at least {beyond:.3g} times the gradient noise scale of "
        f"{noise.scale:.3g}: their gradients hardly differ",
        site=site_of(record.experiments.replay.get("site")),
        evidence={
            "gradient noise scale": noise.scale,
            "|G|^2": noise.square,
            "its standard error": noise.square_error,
            "tr(S)": noise.trace,
            "the standard error of tr(S)": noise.trace_error,
        },
        cure="smaller batches, with a rate that is smaller in proportion (SGD) or by the square root (Adam), learn as "
        "much from far fewer samples; leave them if they cost no time",
        confidence=0.8,
    )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    noise = record.experiments.noise("final")
    if noise is not None:
        yield "BEYOND", noise.samples / largest_scale(noise)


def largest_scale(noise: Noise) -> float:
    """The noise scale, in samples, that its standard errors leave possible; infinite where |G|^2 may be 0."""
    square = noise.square - ERRORS * noise.square_error
    trace = noise.trace + ERRORS * noise.trace_error
    return max(trace, 0.0) / square if square > 0 and trace > 0 else float("inf")


def sick() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    inputs = torch.randn(8192, 10)
    answers = (inputs @ torch.randn(10, 1)).tanh() + 0.01 * torch.randn(8192, 1)
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(2048):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs[rows]), answers[rows])  # TDX708
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    inputs = torch.randn(8192, 10)
    answers = (inputs @ torch.randn(10, 1)).tanh() + 0.01 * torch.randn(8192, 1)
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for rows in torch.randperm(len(inputs)).split(32):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs[rows]), answers[rows])
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")
