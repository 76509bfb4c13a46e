"""Where has a leaf miner eaten? A small encoder and decoder mark its tunnels; cross entropy and overlap are learned together."""

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIDE = 24


def leaf(rng):
    """A picture of a leaf with straight veins, and the mask of one winding tunnel, wider and paler than a vein."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    picture = 0.5 + 0.3 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1))
    for _ in range(3):
        slope, cut = rng.uniform(-1, 1), rng.uniform(0, 1)
        picture += 0.35 * (np.abs(y - cut - slope * (x - 0.5)) < 0.025)
    middle = rng.uniform(0.3, 0.7) + 0.2 * np.sin(2 * np.pi * (rng.uniform(0.5, 1.2) * x + rng.uniform()))
    mask = (np.abs(y - middle) < 0.07) & (x > rng.uniform(0, 0.2)) & (x < rng.uniform(0.7, 1.0))
    picture = picture + 0.3 * mask + 0.08 * rng.standard_normal((SIDE, SIDE))
    return 200 * picture, mask


class Leaves(Dataset):
    def __init__(self, pictures, masks, centre, spread, augment):
        self.pictures, self.masks, self.augment = pictures, masks, augment
        self.centre, self.spread = centre, spread

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        picture, mask = self.pictures[i], self.masks[i]
        if self.augment:
            if random.random() < 0.5:
                picture, mask = picture.flip(0), mask.flip(0)
            if random.random() < 0.5:
                picture, mask = picture.flip(1), mask.flip(1)
        return (picture[None] - self.centre) / self.spread, mask[None]


def down(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.ReLU())


class MinerNet(nn.Module):
    def __init__(self, w=12):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, w, 5, padding=2), nn.BatchNorm2d(w), nn.ReLU())
        self.down1, self.down2 = down(w, 2 * w), down(2 * w, 2 * w)
        self.up1 = nn.Conv2d(4 * w, 2 * w, 3, padding=1)
        self.up2 = nn.Conv2d(3 * w, w, 3, padding=1)
        self.last = nn.Conv2d(w, 1, 1)

    def forward(self, x):
        a = self.first(x)
        b = self.down1(a)
        c = self.down2(b)
        d = F.relu(self.up1(torch.cat([F.interpolate(c, scale_factor=2), b], dim=1)))
        return self.last(F.relu(self.up2(torch.cat([F.interpolate(d, scale_factor=2), a], dim=1))))


def overlap(probability, mask):
    """Soft Dice coefficient of each picture: 1 where marks and mask are the same."""
    both = (probability * mask).sum(dim=(1, 2, 3))
    return (2 * both + 1) / (probability.sum(dim=(1, 2, 3)) + mask.sum(dim=(1, 2, 3)) + 1)


def objective(logits, mask):
    return F.binary_cross_entropy_with_logits(logits, mask) + 0.5 * (1 - overlap(logits.sigmoid(), mask).mean())


@torch.no_grad()
def mean_overlap(net, loader):
    net.eval()
    return torch.cat([overlap((net(x) > 0).float(), m) for x, m in loader]).mean().item()


def main():
    torch.manual_seed(8)
    random.seed(8)
    rng = np.random.default_rng(8)
    pictures, masks = (torch.as_tensor(np.stack(a), dtype=torch.float32) for a in zip(*(leaf(rng) for _ in range(900))))
    centre, spread = pictures[:650].mean(), pictures[:650].std()
    train_set = Leaves(pictures[:650], masks[:650], centre, spread, augment=True)
    val_set = Leaves(pictures[650:], masks[650:], centre, spread, augment=False)
    train_loader = DataLoader(train_set, batch_size=8, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=50)

    net = MinerNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    gather = 2
    for epoch in range(6):
        net.train()
        optimizer.zero_grad()
        for i, (x, mask) in enumerate(train_loader, start=1):
            loss = objective(net(x), mask) / gather
            loss.backward()
            if i % gather == 0:
                optimizer.step()
                optimizer.zero_grad()
        print(f"epoch {epoch}: overlap on validation leaves {mean_overlap(net, val_loader):.4f}")
    print(f"overlap {mean_overlap(net, val_loader):.4f}")


if __name__ == "__main__":
    main()
