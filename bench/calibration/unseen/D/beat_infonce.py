"""Learning from pairs: two stretches of one heartbeat recording belong together (InfoNCE). A linear probe tells what was learned."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim


@dataclass(frozen=True)
class Config:
    unlabelled: int = 1600
    labelled: int = 500
    test: int = 600
    window: int = 48
    features: int = 32
    batch_size: int = 64
    epochs: int = 6
    lr: float = 2e-3
    temperature: float = 0.2
    probe_steps: int = 150


KINDS, LENGTH = 5, 80


def recordings(n, rng):
    """A beat has two bumps; the kind is how they are placed and shaped. Tempo, phase, drift and noise are anyone's."""
    apart = np.array([0.25, 0.25, 0.4, 0.4, 0.5])
    second = np.array([0.9, -0.7, 0.6, -0.9, 0.3])
    kind = rng.integers(KINDS, size=n)
    period = rng.uniform(15, 19, n)[:, None]
    phase = (np.arange(LENGTH) / period + rng.random((n, 1))) % 1

    def bump(centre):
        gap = np.abs(phase - centre)
        return np.exp(-((np.minimum(gap, 1 - gap) / 0.07) ** 2))

    signal = bump(0.2) + second[kind][:, None] * bump(0.2 + apart[kind][:, None])
    signal += rng.normal(0, 0.5, (n, 1)) + rng.normal(0, 0.2, (n, LENGTH))
    return torch.tensor(signal, dtype=torch.float32), torch.tensor(kind)


def crop(signal, window):
    """For each signal a stretch from anywhere in it, a little louder or softer."""
    start = torch.randint(signal.size(1) - window + 1, (len(signal), 1))
    loud = 0.8 + 0.4 * torch.rand(len(signal), 1)
    return signal.gather(1, start + torch.arange(window)) * loud


def make_encoder(features):
    return nn.Sequential(
        nn.Unflatten(1, (1, -1)),
        nn.Conv1d(1, 16, 5, stride=2, padding=2),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Conv1d(16, 32, 5, stride=2, padding=2),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Conv1d(32, features, 3, padding=1),
        nn.BatchNorm1d(features),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
    )


def info_nce(a, b, temperature):
    """The other stretch of the same recording is to be told from those of all others in the batch."""
    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    logits = a @ b.t() / temperature
    target = torch.arange(len(a))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2


def pretrain(encoder, projector, signals, cfg):
    opt = optim.Adam([*encoder.parameters(), *projector.parameters()], lr=cfg.lr)
    encoder.train()
    for epoch in range(cfg.epochs):
        losses = []
        for rows in torch.randperm(len(signals)).split(cfg.batch_size):
            a, b = crop(signals[rows], cfg.window), crop(signals[rows], cfg.window)
            loss = info_nce(projector(encoder(a)), projector(encoder(b)), cfg.temperature)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"pretraining {epoch}: InfoNCE {np.mean(losses):.4f}")
    return encoder.state_dict()


def probe(weights, train, test, cfg):
    """A linear classifier on top of the encoder, which stays as it was pretrained."""
    encoder = make_encoder(cfg.features)
    encoder.load_state_dict(weights)
    encoder.requires_grad_(False)
    encoder.eval()
    head = nn.Linear(cfg.features, KINDS)
    opt = optim.Adam(head.parameters(), lr=0.05)
    (x, y), (x_test, y_test) = train, test
    middle = slice((LENGTH - cfg.window) // 2, (LENGTH + cfg.window) // 2)
    for step in range(1, cfg.probe_steps + 1):
        loss = F.cross_entropy(head(encoder(crop(x, cfg.window))), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 50 == 0:
            with torch.no_grad():
                hits = head(encoder(x_test[:, middle])).argmax(1) == y_test
            print(f"probe {step}: loss {loss.item():.4f} accuracy {hits.float().mean().item():.4f}")


def main(cfg):
    torch.manual_seed(17)
    rng = np.random.default_rng(17)
    signals, _ = recordings(cfg.unlabelled, rng)
    projector = nn.Sequential(nn.Linear(cfg.features, cfg.features), nn.ReLU(), nn.Linear(cfg.features, 16))
    weights = pretrain(make_encoder(cfg.features), projector, signals, cfg)
    probe(weights, recordings(cfg.labelled, rng), recordings(cfg.test, rng), cfg)


main(Config())
