"""How many bicycles will be hired in an hour? The 10 %, 50 % and 90 % quantiles, from a pinball loss with its own
backward; each step gathers the gradients of several small batches."""

import argparse

import numpy as np
import torch
from torch import nn

QUANTILES = torch.tensor([0.1, 0.5, 0.9])


class Pinball(torch.autograd.Function):
    """q times what was hired above the forecast, 1 - q times what was hired below it."""

    @staticmethod
    def forward(ctx, forecast, hired):
        missed = hired[:, None] - forecast
        ctx.save_for_backward(missed)
        return torch.maximum(QUANTILES * missed, (QUANTILES - 1) * missed)

    @staticmethod
    def backward(ctx, grad_output):
        (missed,) = ctx.saved_tensors
        slope = torch.where(missed > 0, -QUANTILES, 1 - QUANTILES)
        return grad_output * slope, None


def hours(n, rng):
    """Hour of the day, day of the week, degrees, metres of sight, millibars; and the bicycles hired."""
    hour = rng.integers(0, 24, n)
    weekday = rng.integers(0, 7, n)
    degrees = rng.normal(14, 8, n)
    sight = rng.uniform(500, 20000, n)
    pressure = rng.normal(1013, 9, n)
    rush = np.exp(-((hour - 8) ** 2) / 8) + 1.2 * np.exp(-((hour - 17) ** 2) / 10)
    leisure = 1.1 * np.exp(-((hour - 14) ** 2) / 30)
    level = 40 + 260 * np.where(weekday < 5, rush, leisure) * (1 / (1 + np.exp(-(degrees - 8) / 4)))
    level *= 0.7 + 0.3 * sight / 20000 + 0.015 * (pressure - 1013)
    hired = level * np.exp(0.18 * rng.normal(size=n))
    clock = 2 * np.pi * hour / 24
    waves = [np.sin(clock), np.cos(clock), np.sin(2 * clock), np.cos(2 * clock)]
    columns = np.stack([*waves, weekday >= 5, degrees, sight, pressure], axis=1)
    return columns.astype(np.float32), hired.astype(np.float32)


def build(n_in, width):
    return nn.Sequential(
        nn.Linear(n_in, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, len(QUANTILES)),
    )


def l1(net):
    return sum(p.abs().sum() for name, p in net.named_parameters() if name.endswith("weight"))


def train_epoch(net, x, y, optimizer, args):
    net.train()
    optimizer.zero_grad()
    for i, rows in enumerate(torch.randperm(len(x)).split(args.micro)):
        loss = Pinball.apply(net(x[rows]), y[rows]).mean() + args.l1 * l1(net)
        (loss / args.gather).backward()
        if (i + 1) % args.gather == 0:
            optimizer.step()
            optimizer.zero_grad()


@torch.no_grad()
def score(net, x, y):
    net.eval()
    return Pinball.apply(net(x), y).mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--micro", type=int, default=8)
    parser.add_argument("--gather", type=int, default=8)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--lr", type=float, default=0.3)
    parser.add_argument("--l1", type=float, default=1e-6)
    args = parser.parse_args()

    torch.manual_seed(22)
    rng = np.random.default_rng(22)
    (x, y), (x_new, y_new) = hours(args.rows, rng), hours(2000, rng)
    mean, std, typical = x.mean(0), x.std(0), y.std()
    x, x_new = torch.from_numpy((x - mean) / std), torch.from_numpy((x_new - mean) / std)
    y, y_new = torch.from_numpy(y / typical), torch.from_numpy(y_new / typical)
    net = build(x.shape[1], args.width)
    optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    for epoch in range(args.epochs):
        train_epoch(net, x, y, optimizer, args)
        scheduler.step()
        if (epoch + 1) % 2 == 0:
            print(f"epoch {epoch + 1}: pinball loss of hours held out {score(net, x_new, y_new):.5f}")


if __name__ == "__main__":
    main()
