"""Few labels, many pictures: pseudo-labels from an averaged net teach the net that is averaged. Grains of wood at four angles."""

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

CLASSES, SIDE = 4, 12
SHARES = torch.tensor([0.55, 0.25, 0.12, 0.08])  # some grains are rare


def grains(n, shares):
    kind = torch.multinomial(shares, n, replacement=True)
    angle = kind * math.pi / CLASSES + 0.2 * torch.randn(n)
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    along = row * torch.sin(angle)[:, None, None] + column * torch.cos(angle)[:, None, None]
    wave = torch.sin(along * (0.9 + 0.5 * torch.rand(n, 1, 1)) + 6.28 * torch.rand(n, 1, 1))
    return (wave + 0.7 * torch.randn(n, SIDE, SIDE)).unsqueeze(1), kind


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1), nn.GroupNorm(4, 24), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, CLASSES),
    )  # fmt: skip


def weak(x):
    return torch.roll(x, torch.randint(-1, 2, (2,)).tolist(), dims=(2, 3))


def strong(x):
    """Rolled, noisier, of another contrast, and with a square cut out."""
    x = weak(x) * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1)) + 0.3 * torch.randn_like(x)
    top, left = torch.randint(0, SIDE - 4, (2,)).tolist()
    keep = torch.ones(1, 1, SIDE, SIDE)
    keep[..., top : top + 4, left : left + 4] = 0
    return x * keep


class Averaged:
    """Exponential moving average of a net's weights."""

    def __init__(self, net, decay):
        self.net, self.decay = copy.deepcopy(net).requires_grad_(False), decay

    @torch.no_grad()
    def follow(self, net):
        for mine, theirs in zip(self.net.parameters(), net.parameters(), strict=True):
            mine.mul_(self.decay).add_(theirs, alpha=1 - self.decay)


def balanced_accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        guess = net(x).argmax(1)
    return torch.stack([(guess[y == c] == c).float().mean() for c in range(CLASSES)]).mean().item()


def main(steps=260, decay=0.95, threshold=0.8, trust=1.0):
    torch.manual_seed(27)
    x_lab, y_lab = grains(200, SHARES)
    x_unl, _ = grains(3000, SHARES)
    x_test, y_test = grains(800, torch.ones(CLASSES))
    mean, std = x_unl.mean(), x_unl.std()
    x_lab, x_unl, x_test = (x_lab - mean) / std, (x_unl - mean) / std, (x_test - mean) / std

    counts = torch.bincount(y_lab, minlength=CLASSES)
    sampler = WeightedRandomSampler(1.0 / counts[y_lab], num_samples=32 * steps)
    loader = DataLoader(TensorDataset(x_lab, y_lab), batch_size=32, sampler=sampler)

    net = small_cnn()
    averaged = Averaged(net, decay)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step, (x, y) in enumerate(loader, start=1):
        net.train()
        supervised = F.cross_entropy(net(strong(x)), y)
        u = x_unl[torch.randint(len(x_unl), (64,))]
        with torch.no_grad():
            sure, pseudo = averaged.net(weak(u)).softmax(1).max(1)
        each = F.cross_entropy(net(strong(u)), pseudo, reduction="none")
        unsupervised = (each * (sure > threshold)).mean()
        loss = supervised + trust * unsupervised
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        averaged.follow(net)
        if step % 52 == 0:
            print(f"step {step}: labelled {supervised.item():.3f} pseudo {unsupervised.item():.3f} balanced accuracy {balanced_accuracy(averaged.net, x_test, y_test):.4f}")


if __name__ == "__main__":
    main()
