"""The latent variables of a variational autoencoder hold nothing of the input.

Seen as reconstructions that all look alike, and samples that do; the KL term is near 0. Measured is the divergence of
q(z | x) from the prior, averaged over a batch, of each latent unit by itself, in the second half of training.

Hurts because I(x; z) is at most that divergence: with less than 0.01 nat in every unit the decoder is told nothing, and
can but give the mean of the data. The KL term is at its least there, and where it weighs more than what a unit could
save in reconstruction, the encoder gives up one unit after the other; a decoder that sees its own past needs none.

Helped by a smaller weight on the KL term, or one that grows from 0 over the first epochs; free bits (the term counts
only above some nats a unit); sums over pixels and latent units alike, rather than a mean of one and a sum of the other;
a weaker decoder.

No fault when some of the units are unused, as in most healthy ones; when the divergence is one of policies, or of
weights, from what they were.

Sources: S. Bowman et al., arXiv 1511.06349; D. Kingma et al., arXiv 1606.04934 (free bits); J. Lucas et al.,
arXiv 1911.02469.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Fact, Record

code, family, severity = "TDX620", "loss", "warning"
needs = frozenset({"latent"})
explains = frozenset({"not-learning"})

COLLAPSED = 0.01
"""Nats that the most used latent unit holds at most, at each look of the second half of training (catalogue, row 84).
Healthy encoders' most used unit reads 0.23 to 2.1 (4 of them), that of collapsed ones 0.0001 to 0.002 (4)."""

TIMES, LITTLE = 10.0, 1.0
"""Times that the divergence weighs what it should beside a reconstruction that is averaged over the batch, where it is
not; and nats that the most used unit then holds at most. Two sick encoders read 50 and 100, with 0.24 and 0.8; healthy
ones average both or neither, and hold 2.5."""

LOOKS, ENOUGH_STEPS = 3, 200
"""Looks in the second half, and steps of training, before it is judged: at first, many encoders wait at the prior."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every encoder all of whose units stay at the prior."""
    for late in _late(record):
        most = max(look["highest"] for look in late)
        if most < COLLAPSED:
            yield Finding(
                message=f"none of the {late[-1]['units']} latent units differs from the prior by more than {most:.2g} "
                "nats in the second half of training: they hold nothing of the input",
                site=site_of(late[-1].get("site")),
                evidence={
                    "divergence of the most used unit, nats": most,
                    "latent units": late[-1]["units"],
                    "steps": [look["step"] for look in late],
                    "divergence of the most used unit over steps": [look["highest"] for look in late],
                },
                cure="give the KL term a smaller weight, or one that grows from 0, or free bits; and sum both terms "
                "over their units",
                confidence=0.9,
            )
        elif all(look.get("times", 0.0) > TIMES for look in late) and most < LITTLE:
            yield Finding(
                message=f"the divergence is summed over the {late[-1]['batch']} samples of a batch, and the "
                f"reconstruction averaged: it weighs {late[-1]['times']:.3g} times as much, and no latent unit holds "
                f"more than {most:.2g} nats of the input",
                site=site_of(late[-1].get("site")),
                evidence={
                    "times": [look["times"] for look in late],
                    "divergence of the most used unit, nats": most,
                    "latent units": late[-1]["units"],
                },
                cure="sum the divergence over the latent units, and average it over the samples: `kl.sum(1).mean()`",
                confidence=0.9,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for late in _late(record):
        yield "COLLAPSED", max(look["highest"] for look in late)
        if all("times" in look for look in late):
            yield "TIMES", min(look["times"] for look in late)
            yield "LITTLE", max(look["highest"] for look in late)


def _late(record: Record) -> Iterator[list[Fact]]:
    """The looks of the second half of training, of each place."""
    trained = record.steps - record.latest_start
    places: dict[str, list[Fact]] = defaultdict(list)
    for look in record.process.all("latent"):
        if look["step"] > record.latest_start + trained // 2:
            places[str(look.get("site"))].append(look)
    yield from (late for late in places.values() if len(late) >= LOOKS and trained >= ENOUGH_STEPS)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.distributions import Normal, kl_divergence

    torch.manual_seed(0)
    pictures = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    decoder = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.003)
    prior = Normal(0.0, 1.0)
    for _ in range(12):
        for rows in torch.randperm(len(pictures)).split(64):
            optimizer.zero_grad()
            mean, log_scale = encoder(pictures[rows]).chunk(2, 1)
            code = Normal(mean, log_scale.exp())
            reconstruction = nn.functional.mse_loss(decoder(code.rsample()), pictures[rows])
            divergence = kl_divergence(code, prior).sum(1).mean()  # TDX620
            (reconstruction + divergence).backward()
            optimizer.step()
    print(f"{reconstruction.item():.3f} {divergence.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.distributions import Normal, kl_divergence

    torch.manual_seed(0)
    pictures = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    decoder = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.003)
    prior = Normal(0.0, 1.0)
    for _ in range(12):
        for rows in torch.randperm(len(pictures)).split(64):
            optimizer.zero_grad()
            mean, log_scale = encoder(pictures[rows]).chunk(2, 1)
            code = Normal(mean, log_scale.exp())
            reconstruction = nn.functional.mse_loss(decoder(code.rsample()), pictures[rows])
            divergence = kl_divergence(code, prior).sum(1).mean()
            (reconstruction + 0.001 * divergence).backward()
            optimizer.step()
    print(f"{reconstruction.item():.3f} {divergence.item():.3f}")
