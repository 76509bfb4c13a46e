"""Plain, twill, satin, basket or herringbone? Scans of cloth and a small convolutional network with batch norm."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

WEAVES = ["plain", "twill", "satin", "basket", "herringbone"]
SIDE = 20


@dataclass
class Options:
    batch_size: int = 48
    epochs: int = 5
    lr: float = 0.05
    weight_decay: float = 5e-4
    width: int = 12
    seed: int = 15


def scan(weave, rng):
    """Where the warp lies on top it is light; a scan starts anywhere, is lit unevenly and noisy."""
    i, j = np.mgrid[:SIDE, :SIDE]
    i, j = i + rng.integers(40), j + rng.integers(40)
    top = {
        "plain": (i + j) % 2 == 0,
        "twill": (i + j) % 4 < 2,
        "satin": (j + 2 * i) % 5 == 0,
        "basket": (i // 2 + j // 2) % 2 == 0,
        "herringbone": (i + np.where(j // 4 % 2 == 0, j, -j)) % 4 < 2,
    }[weave]
    light = rng.uniform(0.6, 1.2) + rng.uniform(-0.02, 0.02) * (np.arange(SIDE) - SIDE / 2)
    return light * (0.35 + 0.3 * top) + rng.normal(0, 0.13, (SIDE, SIDE))


class ClothDataset(Dataset):
    def __init__(self, per_weave, seed):
        rng = np.random.default_rng(seed)
        pictures = np.array([scan(weave, rng) for weave in WEAVES for _ in range(per_weave)], dtype=np.float32)
        labels = np.repeat(np.arange(len(WEAVES)), per_weave)
        order = rng.permutation(len(labels))
        self.pictures, self.labels = pictures[order], labels[order]

    def normalise(self, mean, std):
        self.pictures = (self.pictures - mean) / std

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.pictures[index][None], self.labels[index]


class WeaveNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(2 * width, len(WEAVES))

    def forward(self, x):
        return self.classifier(self.features(x))


class Loom:
    def __init__(self, options):
        self.options = options
        torch.manual_seed(options.seed)
        train, test = ClothDataset(240, seed=1), ClothDataset(120, seed=2)
        mean, std = train.pictures.mean(), train.pictures.std()
        train.normalise(mean, std)
        test.normalise(mean, std)
        self.train_data = DataLoader(train, options.batch_size, shuffle=True, drop_last=True)
        self.test_data = DataLoader(test, 50)
        self.net = WeaveNet(options.width)
        self.criterion = nn.CrossEntropyLoss()
        self.optim = torch.optim.SGD(
            self.net.parameters(), lr=options.lr, momentum=0.9, weight_decay=options.weight_decay, nesterov=True
        )
        self.sched = torch.optim.lr_scheduler.CosineAnnealingLR(self.optim, options.epochs * len(self.train_data))

    def run(self, data, training):
        self.net.train(training)
        loss_sum = right = seen = 0
        with torch.set_grad_enabled(training):
            for x, y in data:
                scores = self.net(x)
                loss = self.criterion(scores, y)
                if training:
                    self.optim.zero_grad()
                    loss.backward()
                    self.optim.step()
                    self.sched.step()
                loss_sum += loss.item() * len(y)
                right += (scores.argmax(1) == y).sum().item()
                seen += len(y)
        return loss_sum / seen, right / seen

    def fit(self):
        for epoch in range(self.options.epochs):
            self.run(self.train_data, training=True)
            loss, accuracy = self.run(self.test_data, training=False)
            print(f"epoch {epoch}: test loss {loss:.4f}, test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    Loom(Options()).fit()
