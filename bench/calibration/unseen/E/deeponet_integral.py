"""A DeepONet learns to integrate: from a function's values at sensors to its antiderivative at any place."""

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Settings:
    sensors: int = 32
    places: int = 24
    width: int = 64
    basis: int = 24
    epochs: int = 16
    batch: int = 50
    lr: float = 3e-3
    functions: int = 3000


def draw(n, s, generator):
    """Sums of five sines and cosines with falling amplitudes, and their integrals from 0, at places of their own."""
    k = torch.arange(1, 6)
    a, b = (torch.randn(n, 5, generator=generator) / k for _ in range(2))
    x = torch.linspace(0, 1, s.sensors)
    y = torch.rand(n, s.places, generator=generator)
    sensed = (a[:, None] * torch.sin(math.pi * k * x[:, None]) + b[:, None] * torch.cos(math.pi * k * x[:, None])).sum(-1)
    angle = math.pi * k * y[..., None]
    area = ((a[:, None] * (1 - torch.cos(angle)) + b[:, None] * torch.sin(angle)) / (math.pi * k)).sum(-1)
    return 40.0 * sensed + 15.0, y.unsqueeze(-1), area


class MLP(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(i, o) for i, o in zip(sizes, sizes[1:])])

    def forward(self, x):
        *hidden, last = self.layers
        for layer in hidden:
            x = nn.functional.gelu(layer(x))
        return last(x)


class DeepONet(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.branch = MLP(s.sensors, s.width, s.width, s.basis)
        self.trunk = MLP(1, s.width, s.width, s.basis)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, u, y):
        weights = self.branch(u)
        basis = self.trunk(2 * y - 1)
        return torch.einsum("nb,npb->np", weights, basis) / math.sqrt(weights.shape[1]) + self.bias


def relative_error(guess, truth):
    return (guess - truth).norm(dim=1).div(truth.norm(dim=1)).mean()


def fit(model, data, held_out, s):
    u, y, area = data
    opt = torch.optim.AdamW(model.parameters(), lr=s.lr, weight_decay=1e-4)
    per_epoch = math.ceil(len(u) / s.batch)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=s.epochs * per_epoch)
    for epoch in range(s.epochs):
        model.train()
        for rows in torch.randperm(len(u)).split(s.batch):
            opt.zero_grad()
            loss = nn.functional.mse_loss(model(u[rows], y[rows]), area[rows])
            loss.backward()
            opt.step()
            sched.step()
        if (epoch + 1) % 4 == 0:
            model.eval()
            with torch.no_grad():
                error = relative_error(model(held_out[0], held_out[1]), held_out[2])
            print(f"epoch {epoch + 1}: loss {loss.item():.6f}, relative error on unseen functions {error.item():.4f}")


if __name__ == "__main__":
    torch.manual_seed(17)
    s = Settings()
    generator = torch.Generator().manual_seed(4)
    u, y, area = draw(s.functions, s, generator)
    u_new, y_new, area_new = draw(300, s, generator)
    mean, std = u.mean(), u.std()
    fit(DeepONet(s), ((u - mean) / std, y, area), ((u_new - mean) / std, y_new, area_new), s)
