"""A plain GAN: points on a ring, with BCE and label smoothing."""

import math

import torch
import torch.nn as nn
import torch.optim as optim

torch.manual_seed(0)
BATCH = 128
ITERATIONS = 750
NOISE = 4


def real_points(n):
    angle = 2 * math.pi * torch.rand(n)
    radius = 1.0 + 0.1 * torch.randn(n)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(NOISE, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))

    def forward(self, z):
        return self.net(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1)
        )

    def forward(self, x):
        return self.net(x).squeeze(1)


G, D = Generator(), Discriminator()
criterion = nn.BCEWithLogitsLoss()
opt_g = optim.Adam(G.parameters(), lr=5e-4, betas=(0.0, 0.99))
opt_d = optim.Adam(D.parameters(), lr=2e-3, betas=(0.0, 0.99))
ones, zeros = torch.full((BATCH,), 0.9), torch.zeros(BATCH)


def distance(a, b):
    """Energy distance of two clouds of points."""
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


for i in range(ITERATIONS):
    # Discriminator
    opt_d.zero_grad()
    fake = G(torch.randn(BATCH, NOISE))
    loss_d = criterion(D(real_points(BATCH)), ones) + criterion(D(fake.detach()), zeros)
    loss_d.backward()
    opt_d.step()

    # Generator
    opt_g.zero_grad()
    loss_g = criterion(D(fake), torch.ones(BATCH))
    loss_g.backward()
    opt_g.step()

    if (i + 1) % 125 == 0:
        with torch.no_grad():
            apart = distance(G(torch.randn(600, NOISE)), real_points(600))
        print(f"{i + 1}: D {loss_d.item():.3f} G {loss_g.item():.3f} energy distance {apart:.4f}")
