"""Sort the fruit on a belt by its picture. Small batches, gradients accumulated over several of them."""

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

FRUITS = ("apple", "plum", "pear", "damson", "ring")


def paint(kind, rng):
    """One picture, 3 x 16 x 16, of bytes."""
    yy, xx = np.mgrid[0:16, 0:16]
    cy, cx = rng.uniform(6, 9, 2)
    size = rng.uniform(3.2, 5.2)
    tall = {0: 1.0, 1: 1.0, 2: 1.5, 3: 1.5, 4: 1.0}[kind]
    far = np.sqrt(((yy - cy) / tall) ** 2 + (xx - cx) ** 2 * tall)
    body = far < size
    if kind == 4:
        body &= far > size * 0.45
    red, blue = (170, 60) if kind in (0, 2) else (90, 150)
    if kind == 4:
        red, blue = (130, 105) if rng.random() < 0.5 else (100, 140)
    picture = np.full((3, 16, 16), 70.0) + rng.normal(0, 12, (3, 1, 1))
    for channel, level in enumerate((red, 110, blue)):
        picture[channel][body] = level + rng.normal(0, 20)
    return np.clip(picture + rng.normal(0, 28, picture.shape), 0, 255).astype(np.uint8)


def harvest(n, rng):
    kinds = rng.integers(0, len(FRUITS), n)
    return np.stack([paint(k, rng) for k in kinds]), kinds


class Belt(Dataset):
    def __init__(self, pictures, kinds):
        self.pictures = torch.from_numpy(pictures).float() / 255
        self.kinds = torch.from_numpy(kinds)

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, i):
        return self.pictures[i], self.kinds[i]


class Sorter(nn.Module):
    def __init__(self, drop):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.fc1 = nn.Linear(24 * 16, 48)
        self.fc2 = nn.Linear(48, len(FRUITS))
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.drop(F.relu(self.fc1(x.flatten(1))))
        return self.fc2(x)


@torch.no_grad()
def share_right(model, loader):
    model.eval()
    right = sum((model(x).argmax(1) == k).sum().item() for x, k in loader)
    return right / len(loader.dataset)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=9)
    ap.add_argument("--lr", type=float, default=0.05)
    ap.add_argument("--micro", type=int, default=16)
    ap.add_argument("--accumulate", type=int, default=3)
    ap.add_argument("--drop", type=float, default=0.2)
    args = ap.parse_args()

    torch.manual_seed(11)
    rng = np.random.default_rng(11)
    train_loader = DataLoader(Belt(*harvest(2400, rng)), batch_size=args.micro, shuffle=True)
    val_loader = DataLoader(Belt(*harvest(600, rng)), batch_size=200)
    test_loader = DataLoader(Belt(*harvest(800, rng)), batch_size=200)

    model = Sorter(args.drop)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)

    for epoch in range(1, args.epochs + 1):
        model.train()
        optimizer.zero_grad()
        for i, (x, k) in enumerate(train_loader, 1):
            loss = F.cross_entropy(model(x), k) / args.accumulate
            loss.backward()
            if i % args.accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
        print(f"[{epoch}/{args.epochs}] validation accuracy {share_right(model, val_loader):.4f}")
    print(f"test accuracy {share_right(model, test_loader):.4f}")


if __name__ == "__main__":
    main()
