"""A conditional GAN of points: tell it which petal, and it gives points on that petal."""

import math

import torch
from torch import nn

PETALS, NOISE, HIDDEN, BATCH, ROUNDS = 5, 8, 64, 128, 900


def petal_points(petal):
    """Points along a bent petal, which points its own way."""
    along = torch.rand(len(petal))
    turn = petal * (2 * math.pi / PETALS) + 0.7 * (along - 0.5)
    radius = 0.6 + 1.2 * along
    points = torch.stack([radius * torch.cos(turn), radius * torch.sin(turn)], dim=1)
    return points + 0.06 * torch.randn_like(points)


def one_hot(petal):
    return nn.functional.one_hot(petal, PETALS).float()


def build_generator():
    return nn.Sequential(nn.Linear(NOISE + PETALS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2))


def build_critic():
    return nn.Sequential(nn.Linear(2 + PETALS, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1))


def make_step(G, D, g_optim, d_optim):
    bce = nn.BCEWithLogitsLoss()

    def judge(points, petal):
        return D(torch.cat([points, one_hot(petal)], dim=1))

    def imagine(petal):
        return G(torch.cat([torch.randn(len(petal), NOISE), one_hot(petal)], dim=1))

    def step():
        petal = torch.randint(PETALS, (BATCH,))
        real, made = petal_points(petal), imagine(petal)
        on_real, on_made = judge(real, petal), judge(made.detach(), petal)
        d_loss = bce(on_real, torch.full_like(on_real, 0.9)) + bce(on_made, torch.zeros_like(on_made))
        d_optim.zero_grad()
        d_loss.backward()
        d_optim.step()

        verdict = judge(made, petal)
        g_loss = bce(verdict, torch.ones_like(verdict))
        g_optim.zero_grad()
        g_loss.backward()
        g_optim.step()
        return d_loss.item(), g_loss.item()

    return step, imagine


@torch.no_grad()
def energy_distance(imagine, n=400):
    """Of the made points from real ones, petal by petal, averaged."""
    total = 0.0
    for p in range(PETALS):
        petal = torch.full((n,), p)
        a, b = petal_points(petal), imagine(petal)
        total += (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()
    return total / PETALS


torch.manual_seed(6)
generator, discriminator = build_generator(), build_critic()
g_optim = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.9))
d_optim = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.9))
step, imagine = make_step(generator, discriminator, g_optim, d_optim)
for i in range(1, ROUNDS + 1):
    d_loss, g_loss = step()
    if i % 150 == 0:
        print(f"{i:4d}  D {d_loss:.3f}  G {g_loss:.3f}  energy distance {energy_distance(imagine):.4f}")
