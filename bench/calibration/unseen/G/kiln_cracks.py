"""Find the cracks in pictures of fired tiles: a small U-shaped network, flips as augmentation."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Settings:
    side: int = 16
    n_train: int = 480
    n_val: int = 120
    n_test: int = 200
    width: int = 8
    batch: int = 20
    epochs: int = 12
    lr: float = 4e-3
    seed: int = 29


def fire(n, side, rng):
    """Tiles with grain and stains, and the mask of the one crack that wanders from the left edge rightwards."""
    tiles = rng.normal(0.0, 0.45, (n, 1, side, side))
    masks = np.zeros((n, 1, side, side))
    for tile, mask in zip(tiles, masks):
        row, drift = rng.uniform(3, side - 4), rng.normal(0, 0.35)
        for column in range(rng.integers(side // 2, side)):
            row = np.clip(row + drift + rng.normal(0, 0.4), 1, side - 2)
            mask[0, int(row) : int(row) + 2, column] = 1
        tile[mask > 0] -= rng.uniform(0.8, 1.4)
        y, x = rng.integers(0, side - 4, 2)
        tile[0, y : y + 4, x : x + 4] -= rng.uniform(0.5, 1.0)
    return torch.tensor(tiles, dtype=torch.float32), torch.tensor(masks, dtype=torch.float32)


class Tiles(Dataset):
    def __init__(self, tiles, masks, flips=False):
        self.tiles, self.masks, self.flips = tiles, masks, flips

    def __len__(self):
        return len(self.tiles)

    def __getitem__(self, i):
        tile, mask = self.tiles[i], self.masks[i]
        if self.flips and torch.rand(()) < 0.5:
            tile, mask = tile.flip(-1), mask.flip(-1)
        if self.flips and torch.rand(()) < 0.5:
            tile, mask = tile.flip(-2), mask.flip(-2)
        return tile, mask


def double(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU())


class CrackNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.down = double(1, width)
        self.deep = double(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.merge = double(2 * width, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, tile):
        fine = self.down(tile)
        coarse = self.deep(nn.functional.max_pool2d(fine, 2))
        joined = torch.cat([fine, self.up(coarse)], dim=1)
        return self.head(self.merge(joined))


def dice_error(net, loader):
    """One minus the overlap of what is found and what is there, over all pixels of a set."""
    net.eval()
    both = found = there = 0.0
    with torch.no_grad():
        for tile, mask in loader:
            hit = (net(tile) > 0).float()
            both, found, there = both + (hit * mask).sum(), found + hit.sum(), there + mask.sum()
    return 1 - (2 * both / (found + there)).item()


def fit(net, loader, val_loader, settings):
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=settings.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    for epoch in range(settings.epochs):
        net.train()
        for tile, mask in loader:
            optimizer.zero_grad()
            loss = loss_fn(net(tile), mask)
            loss.backward()
            optimizer.step()
        scheduler.step()
        if (epoch + 1) % 4 == 0:
            print(f"epoch {epoch + 1:2d} loss {loss.item():.4f} val dice error {dice_error(net, val_loader):.4f}")


def run(settings):
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    train = Tiles(*fire(settings.n_train, settings.side, rng), flips=True)
    val = Tiles(*fire(settings.n_val, settings.side, rng))
    test = Tiles(*fire(settings.n_test, settings.side, rng))
    net = CrackNet(settings.width)
    fit(net, DataLoader(train, settings.batch, shuffle=True), DataLoader(val, 60), settings)
    print(f"test dice error {dice_error(net, DataLoader(test, 100)):.4f}")


if __name__ == "__main__":
    run(Settings())
