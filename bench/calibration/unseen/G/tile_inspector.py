"""Cracked, chipped, stained or sound? Photographs of floor tiles (drawn here) and a small convolutional net."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIDE = 16
STATES = ("sound", "cracked", "chipped", "stained")


def photograph(state, rng):
    tile = np.full((SIDE, SIDE), rng.uniform(150, 190)) + rng.normal(0, 18, (SIDE, SIDE))
    if state == 1:  # a dark line from edge to edge
        a, b = rng.uniform(2, SIDE - 3, 2)
        for i in range(SIDE):
            j = int(round(a + (b - a) * i / (SIDE - 1)))
            tile[i, j] -= rng.uniform(40, 80)
        if rng.random() < 0.5:
            tile = tile.T.copy()
    elif state == 2:  # one corner is missing
        size = rng.integers(3, 7)
        rows, cols = np.mgrid[:SIDE, :SIDE]
        tile[rows + cols < size] -= rng.uniform(35, 70)
        tile = np.rot90(tile, rng.integers(4)).copy()
    elif state == 3:  # a soft round spot
        r, c, wide = rng.uniform(5, 10), rng.uniform(5, 10), rng.uniform(1.5, 3)
        rows, cols = np.mgrid[:SIDE, :SIDE]
        tile -= rng.uniform(30, 60) * np.exp(-((rows - r) ** 2 + (cols - c) ** 2) / (2 * wide**2))
    return tile.clip(0, 255)


class Tiles(Dataset):
    def __init__(self, n, seed, mirror, grey=None):
        rng = np.random.default_rng(seed)
        self.state = torch.as_tensor(rng.integers(len(STATES), size=n))
        photos = np.stack([photograph(s, rng) for s in self.state.tolist()])
        self.photos = torch.as_tensor(photos, dtype=torch.float32).unsqueeze(1)
        self.mirror = mirror
        self.grey = grey or (self.photos.mean().item(), self.photos.std().item())

    def __len__(self):
        return len(self.state)

    def __getitem__(self, i):
        photo = self.photos[i]
        if self.mirror and torch.rand(()) < 0.5:
            photo = photo.flip(-1)
        return (photo - self.grey[0]) / self.grey[1], self.state[i]


def block(c_in, c_out):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.05),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class Inspector(nn.Module):
    def __init__(self, drop=0.3):
        super().__init__()
        self.drop = drop
        self.see = nn.Sequential(block(1, 8), block(8, 16), block(16, 32))
        self.fc = nn.Linear(32 * 2 * 2, len(STATES))

    def forward(self, photo):
        h = self.see(photo).flatten(1)
        h = F.dropout(h, self.drop, self.training)
        return self.fc(h)


class Training:
    def __init__(self, model, train_set, test_set, batch_size=32, lr=2e-3):
        self.model = model
        self.train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True, drop_last=True)
        self.test_loader = DataLoader(test_set, batch_size=200)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.cooling = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=0.7)

    def run(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            for photo, state in self.train_loader:
                loss = F.cross_entropy(self.model(photo), state)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()
            self.cooling.step()
            print(f"epoch {epoch}: test accuracy {self.score():.4f}")

    @torch.no_grad()
    def score(self):
        self.model.eval()
        right = sum((self.model(photo).argmax(1) == state).sum().item() for photo, state in self.test_loader)
        return right / len(self.test_loader.dataset)


def main():
    torch.manual_seed(1)
    train_set = Tiles(1600, seed=1, mirror=True)
    test_set = Tiles(1000, seed=2, mirror=False, grey=train_set.grey)
    training = Training(Inspector(), train_set, test_set)
    training.run(epochs=8)
    print(f"test accuracy: {training.score():.4f}")


main()
