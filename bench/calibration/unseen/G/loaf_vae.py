"""A variational autoencoder for the outlines of loaves: 32 radii around the middle, bent by four hidden causes."""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Settings:
    loaves: int = 4000
    radii: int = 32
    code: int = 6
    hidden: int = 96
    noise: float = 0.25
    lr: float = 2e-3
    batch: int = 100
    epochs: int = 14
    warm: int = 120
    seed: int = 8


def bake(n, radii):
    angle = torch.arange(radii) * (2 * torch.pi / radii)
    size, oval, lean, crack = torch.randn(4, n, 1)
    turn = 2 * torch.pi * torch.rand(n, 1)
    outline = 10 + size + 1.5 * oval.exp().clamp(max=3) * torch.cos(2 * (angle - turn)) + lean * torch.sin(angle)
    outline = outline - crack.abs() * torch.exp(3 * (torch.cos(angle - 1.0) - 1))
    return outline + 0.2 * torch.randn(n, radii)


class LoafVAE(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(s.radii, s.hidden), nn.GELU(), nn.Linear(s.hidden, 2 * s.code))
        self.decoder = nn.Sequential(nn.Linear(s.code, s.hidden), nn.GELU(), nn.Linear(s.hidden, s.radii))

    def forward(self, x):
        mu, log_var = self.encoder(x).chunk(2, dim=-1)
        z = mu + torch.randn_like(mu) * (log_var / 2).exp()
        return self.decoder(z), mu, log_var


def terms(x, rebuilt, mu, log_var, noise):
    """Reconstruction and divergence per loaf, summed over radii and over codes (constants left out)."""
    rebuild = F.mse_loss(rebuilt, x, reduction="none").sum(1) / (2 * noise**2)
    divergence = -0.5 * (1 + log_var - mu.square() - log_var.exp()).sum(1)
    return rebuild.mean(), divergence.mean()


def build(s):
    return LoafVAE(s)


def main(s=Settings()):
    torch.manual_seed(s.seed)
    loaves = bake(s.loaves, s.radii)
    train, test = loaves[: s.loaves * 3 // 4], loaves[s.loaves * 3 // 4 :]
    mean, std = train.mean(), train.std()
    train, test = (train - mean) / std, (test - mean) / std

    vae = build(s)
    optimizer = torch.optim.Adam(vae.parameters(), lr=s.lr)

    def negative_elbo():
        vae.eval()
        with torch.no_grad():
            rebuild, divergence = terms(test, *vae(test), s.noise)
        return rebuild.item(), divergence.item()

    step = 0
    for epoch in range(s.epochs):
        vae.train()
        for rows in torch.randperm(len(train)).split(s.batch):
            step += 1
            weight = min(1.0, step / s.warm)
            rebuild, divergence = terms(train[rows], *vae(train[rows]), s.noise)
            loss = rebuild + weight * divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        rebuild, divergence = negative_elbo()
        print(f"epoch {epoch + 1}: train {loss.item():.3f}  test rebuild {rebuild:.3f}  divergence {divergence:.3f}")
    print(f"test negative elbo {sum(negative_elbo()):.4f}")


if __name__ == "__main__":
    main()
