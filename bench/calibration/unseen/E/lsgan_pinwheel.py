# Least-squares GAN on a pinwheel in the plane; samples are drawn from a running average of the generator.
import copy

import numpy as np
import torch
from torch import nn

torch.manual_seed(12)
rng = np.random.default_rng(12)

ARMS, NOISE_DIM, BATCH, STEPS, KEEP = 3, 4, 128, 1200, 0.99


def pinwheel(n):
    arm = rng.integers(ARMS, size=n)
    r = 0.35 * rng.normal(size=n) + 1.2
    across = 0.12 * rng.normal(size=n)
    angle = 2 * np.pi * arm / ARMS + 0.6 * r
    points = np.stack([r * np.cos(angle) - across * np.sin(angle), r * np.sin(angle) + across * np.cos(angle)], axis=1)
    return torch.tensor(points, dtype=torch.float32)


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


G = nn.Sequential(nn.Linear(NOISE_DIM, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
D = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
G_mean = copy.deepcopy(G).requires_grad_(False)
opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.999))

held_out = pinwheel(1500)
fixed_noise = torch.randn(1500, NOISE_DIM)
print("a second sample of the data:", round(energy_distance(pinwheel(1500), held_out), 4))

for step in range(1, STEPS + 1):
    real = pinwheel(BATCH)
    fake = G(torch.randn(BATCH, NOISE_DIM))

    opt_d.zero_grad()
    loss_d = 0.5 * ((D(real) - 1) ** 2).mean() + 0.5 * (D(fake.detach()) ** 2).mean()
    loss_d.backward()
    opt_d.step()

    opt_g.zero_grad()
    loss_g = 0.5 * ((D(fake) - 1) ** 2).mean()
    loss_g.backward()
    opt_g.step()

    with torch.no_grad():
        for averaged, current in zip(G_mean.parameters(), G.parameters()):
            averaged.lerp_(current, 1 - KEEP)

    if step % 200 == 0:
        distance = energy_distance(G_mean(fixed_noise), held_out)
        print(f"step {step} D {loss_d.item():.3f} G {loss_g.item():.3f} energy distance {distance:.4f}")
