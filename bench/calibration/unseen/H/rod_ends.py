"""Where are the two ends of a rod? Pictures from a bin-picking camera; the tip is painted bright, the tail is dull."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DECAY = 0.9  # share of the old running statistics that is kept


@dataclass
class Config:
    side: int = 20
    n_train: int = 2400
    n_val: int = 300
    n_test: int = 500
    batch_size: int = 32
    epochs: int = 8
    lr: float = 3e-3
    weight_decay: float = 1e-3
    seed: int = 11


def photograph(n, side, rng):
    """Pictures (n, 1, side, side) and the places of tip and tail (n, 4), from -1 at one border to 1 at the other."""
    centre = rng.uniform(-0.45, 0.45, (n, 2))
    angle, half = rng.uniform(-np.pi, np.pi, n), rng.uniform(0.25, 0.5, n)
    arm = np.stack([np.cos(angle), np.sin(angle)], axis=1) * half[:, None]
    grid = np.linspace(-1, 1, side)
    pictures = np.zeros((n, side, side))
    for along in np.linspace(-1, 1, 13):
        x, y = (centre + along * arm).T
        blob = np.exp(-((grid - x[:, None]) ** 2)[:, None, :] / 0.008 - ((grid - y[:, None]) ** 2)[:, :, None] / 0.008)
        pictures = np.maximum(pictures, (0.6 + 0.4 * along) * blob)
    pictures += rng.normal(0, 0.08, pictures.shape)
    ends = np.concatenate([centre + arm, centre - arm], axis=1)
    return TensorDataset(torch.tensor(pictures[:, None], dtype=torch.float32), torch.tensor(ends, dtype=torch.float32))


class ConvNorm(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(c_out, momentum=1 - DECAY)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))


class EndFinder(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(ConvNorm(1, 12, 1), ConvNorm(12, 24, 2), ConvNorm(24, 32, 2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 5 * 5, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, x):
        return self.head(self.trunk(x))


def mean_miss(net, loader):
    """Mean distance, in pixels, between an end and where the net sees it. Leaves the net in the mode it was in."""
    mode = net.training
    net.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for picture, ends in loader:
            miss = (net(picture) - ends).view(-1, 2, 2).norm(dim=2) * (picture.shape[-1] - 1) / 2
            total, count = total + miss.sum().item(), count + miss.numel()
    net.train(mode)
    return total / count


def parameter_groups(net, weight_decay):
    """Weights decay; biases and the scales of the norms do not."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def main():
    cfg = Config()
    torch.manual_seed(cfg.seed)
    rng = np.random.default_rng(cfg.seed)
    train_loader = DataLoader(photograph(cfg.n_train, cfg.side, rng), batch_size=cfg.batch_size, shuffle=True)
    val_loader = DataLoader(photograph(cfg.n_val, cfg.side, rng), batch_size=100)
    test_loader = DataLoader(photograph(cfg.n_test, cfg.side, rng), batch_size=100)

    net = EndFinder()
    optimizer = torch.optim.AdamW(parameter_groups(net, cfg.weight_decay), lr=cfg.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=cfg.epochs * len(train_loader))
    criterion = nn.SmoothL1Loss(beta=0.1)

    net.train()
    for epoch in range(1, cfg.epochs + 1):
        running = 0.0
        for picture, ends in train_loader:
            optimizer.zero_grad()
            loss = criterion(net(picture), ends)
            loss.backward()
            optimizer.step()
            scheduler.step()
            running += loss.item() / len(train_loader)
        print(f"epoch {epoch} loss {running:.4f} | val miss {mean_miss(net, val_loader):.3f} px")
    print(f"test miss in pixels: {mean_miss(net, test_loader):.4f}")


if __name__ == "__main__":
    main()
