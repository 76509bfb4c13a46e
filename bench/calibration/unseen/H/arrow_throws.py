"""A conditional VAE of thrown balls: told the wind, it draws the heights of the flight at sixteen moments."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass(frozen=True)
class Plan:
    moments: int = 16
    latent: int = 3
    hidden: int = 64
    lr: float = 2e-3
    batch: int = 64
    epochs: int = 16
    noise: float = 0.1


def flights(n, plan):
    """Heights [n, moments] of balls thrown at any speed and bouncing more or less, and the wind that blew."""
    t = torch.linspace(0, 1, plan.moments)
    wind = torch.rand(n, 1) * 2 - 1
    speed, spin, start = 0.3 * torch.randn(n, 1) + 3, torch.randn(n, 1), 0.5 * torch.randn(n, 1)
    height = start + speed * t - (3 + wind) * t**2 + 0.4 * spin * torch.sin(2 * torch.pi * t)
    return height + plan.noise * torch.randn(n, plan.moments), wind


def mlp(n_in, hidden, n_out):
    return nn.Sequential(nn.Linear(n_in, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, n_out))


class FlightVAE(nn.Module):
    def __init__(self, plan):
        super().__init__()
        self.noise = plan.noise
        self.encoder = mlp(plan.moments + 1, plan.hidden, 2 * plan.latent)
        self.decoder = mlp(plan.latent + 1, plan.hidden, plan.moments)

    def bound(self, height, wind):
        """Misfit and divergence of each flight, both in nats; the misfit leaves the constant of the Gaussian out."""
        mean, log_var = self.encoder(torch.cat([height, wind], dim=1)).chunk(2, dim=1)
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        rebuilt = self.decoder(torch.cat([z, wind], dim=1))
        misfit = 0.5 * ((height - rebuilt) / self.noise).square().sum(dim=1)
        divergence = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(dim=1)
        return misfit, divergence


def validate(vae, height, wind):
    vae.eval()
    with torch.no_grad():
        misfit, divergence = vae.bound(height, wind)
    return (misfit + divergence).mean().item(), divergence.mean().item()


def train(plan):
    torch.manual_seed(9)
    train_loader = DataLoader(TensorDataset(*flights(4000, plan)), batch_size=plan.batch, shuffle=True)
    val = flights(1000, plan)
    vae = FlightVAE(plan)
    optimizer = torch.optim.Adam(vae.parameters(), lr=plan.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=plan.epochs)
    for epoch in range(plan.epochs):
        vae.train()
        for height, wind in train_loader:
            misfit, divergence = vae.bound(height, wind)
            loss = (misfit + divergence).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(vae.parameters(), 50.0)
            optimizer.step()
        scheduler.step()
        if epoch % 4 == 3:
            print("epoch {}: negative bound {:.3f}, divergence {:.3f}".format(epoch + 1, *validate(vae, *val)))
    print(f"negative bound {validate(vae, *val)[0]:.3f}")


train(Plan())
