"""A variational autoencoder of emission spectra: each has three lines, of any strength and slightly out of place."""

import math
from dataclasses import dataclass

import torch
from torch import nn, optim
from torch.nn import functional as F


@dataclass(frozen=True)
class Config:
    channels: int = 60
    latent: int = 6
    hidden: int = 96
    noise: float = 0.1
    epochs: int = 20
    batch: int = 80
    lr: float = 2e-3
    kl_warmup: int = 5
    seed: int = 31


def spectra(n, cfg, generator):
    """Lines near channels 12, 30 and 47; the counter adds noise that is as large everywhere."""
    place = torch.arange(cfg.channels, dtype=torch.float32)
    centre = torch.tensor([12.0, 30.0, 47.0]) + 4 * (torch.rand(n, 3, generator=generator) - 0.5)
    strength = 0.3 + 1.2 * torch.rand(n, 3, generator=generator)
    lines = strength[:, :, None] * torch.exp(-((place - centre[:, :, None]) ** 2) / (2 * 2.5**2))
    return lines.sum(dim=1) + cfg.noise * torch.randn(n, cfg.channels, generator=generator)


class Encoder(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(cfg.channels, cfg.hidden), nn.SiLU(), nn.Linear(cfg.hidden, cfg.hidden), nn.SiLU()
        )
        self.mu = nn.Linear(cfg.hidden, cfg.latent)
        self.log_var = nn.Linear(cfg.hidden, cfg.latent)

    def forward(self, x):
        h = self.body(x)
        return self.mu(h), self.log_var(h)


class Decoder(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(cfg.latent, cfg.hidden), nn.SiLU(), nn.Linear(cfg.hidden, cfg.hidden), nn.SiLU()
        )
        self.out = nn.Linear(cfg.hidden, cfg.channels)

    def forward(self, z):
        return self.out(self.body(z))


class SpectraVAE(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.encoder, self.decoder = Encoder(cfg), Decoder(cfg)

    def forward(self, x):
        mu, log_var = self.encoder(x)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        return self.decoder(z), mu, log_var


def log_likelihood(x, rebuilt, noise):
    """Of each spectrum, in nats, apart from the constant."""
    return -F.mse_loss(rebuilt, x, reduction="none").sum(dim=1) / (2 * noise**2)


def divergence(mu, log_var):
    """Of each posterior from the standard normal, in nats."""
    return 0.5 * (mu.pow(2) + log_var.exp() - 1 - log_var).sum(dim=1)


def train_epoch(model, data, optimizer, beta, cfg):
    model.train()
    for pick in torch.randperm(len(data)).split(cfg.batch):
        x = data[pick]
        rebuilt, mu, log_var = model(x)
        bound = log_likelihood(x, rebuilt, cfg.noise).mean() - beta * divergence(mu, log_var).mean()
        loss = -bound
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def negative_bound(model, data, cfg):
    model.eval()
    rebuilt, mu, log_var = model(data)
    return (divergence(mu, log_var) - log_likelihood(data, rebuilt, cfg.noise)).mean().item()


def main(cfg):
    torch.manual_seed(cfg.seed)
    generator = torch.Generator().manual_seed(cfg.seed)
    train, val = spectra(4000, cfg, generator), spectra(1000, cfg, generator)
    model = SpectraVAE(cfg)
    optimizer = optim.Adam(model.parameters(), lr=cfg.lr)
    scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda e: 0.5 * (1 + math.cos(math.pi * e / cfg.epochs)))
    for epoch in range(cfg.epochs):
        beta = min(1.0, (epoch + 1) / cfg.kl_warmup)
        train_epoch(model, train, optimizer, beta, cfg)
        scheduler.step()
        print(f"[{epoch + 1:02d}/{cfg.epochs}] validation: negative bound {negative_bound(model, val, cfg):.3f} nats")


main(Config())
