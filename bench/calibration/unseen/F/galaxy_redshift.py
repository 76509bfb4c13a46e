"""Distances of galaxies from their brightness in five colours, each with its own uncertainty (Gaussian likelihood)."""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

COLUMNS = ["u", "g", "r", "i", "z", "redshift"]
BANDS = torch.tensor([0.35, 0.48, 0.62, 0.76, 0.91])
FAINTEST = 0.05


def survey(count, seed):
    """Fluxes in five bands and, in the last column, the redshift; some faint fluxes come out at zero or below it."""
    rng = np.random.default_rng(seed)
    redshift = 0.05 + 0.9 * rng.random(count)
    break_at = 0.4 * (1 + redshift)[:, None]
    slope = rng.normal(0.0, 0.25, (count, 1))
    bands = BANDS.numpy()[None]
    light = (0.25 + 1 / (1 + np.exp(-(bands - break_at) / 0.07))) * bands**slope
    bright = np.exp(rng.normal(2.0, 0.8, (count, 1)))
    flux = bright * light + rng.normal(0, 0.15, (count, 5))
    return torch.tensor(np.column_stack([flux, redshift]), dtype=torch.float32)


def features(table):
    """Magnitudes of the bands; what is too faint to be measured gets the faintest magnitude there is."""
    wanted = [COLUMNS.index(name) for name in "ugriz"]
    flux = table[:, wanted].clamp(min=FAINTEST)
    return 22.5 - 2.5 * torch.log10(flux)


class RedshiftNet(nn.Module):
    """Brings magnitudes to one scale by itself; answers with a mean and a standard deviation."""

    def __init__(self, example, width=48):
        super().__init__()
        self.register_buffer("centre", example.mean(dim=0))
        self.register_buffer("spread", example.std(dim=0))
        n = example.shape[1]
        self.net = nn.Sequential(
            nn.Linear(n, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, magnitudes):
        out = self.net((magnitudes - self.centre) / self.spread)
        return out[:, 0], F.softplus(out[:, 1] - 1.0) + 1e-3


def held_out_nll(net, x, y):
    net.eval()
    with torch.no_grad():
        mean, std = net(x)
        z = (y - mean) / std
        return (0.5 * z**2 + std.log() + 0.5 * np.log(2 * np.pi)).mean().item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=14)
    ap.add_argument("--batch-size", type=int, default=64)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--seed", type=int, default=9)
    args = ap.parse_args()
    torch.manual_seed(args.seed)

    train, val = survey(3000, seed=1), survey(1000, seed=2)
    x_train, y_train = features(train), train[:, -1]
    x_val, y_val = features(val), val[:, -1]

    net = RedshiftNet(x_train)
    opt = torch.optim.Adam(net.parameters(), lr=args.lr)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, args.epochs)
    for epoch in range(args.epochs):
        net.train()
        order = torch.randperm(len(x_train))
        total = 0.0
        for i in range(0, len(order), args.batch_size):
            rows = order[i : i + args.batch_size]
            mean, std = net(x_train[rows])
            loss = F.gaussian_nll_loss(mean, y_train[rows], std.square(), full=True)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(rows)
        sched.step()
        if epoch % 2 == 1:
            nll = held_out_nll(net, x_val, y_val)
            print(f"epoch {epoch + 1:2d} train {total / len(x_train):.4f} held-out negative log-likelihood {nll:.4f}")


if __name__ == "__main__":
    main()
