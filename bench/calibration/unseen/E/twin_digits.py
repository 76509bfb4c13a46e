"""Are two pictures of the same digit? A siamese convolutional network with a contrastive loss; the threshold is set on training pairs."""

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    """Each picture with another one, half of the time of the same digit."""

    def __init__(self, images, labels, seed):
        self.images, self.labels = images, labels
        self.rng = np.random.default_rng(seed)
        self.of = [np.flatnonzero(labels == d) for d in range(10)]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        digit, same = self.labels[i], self.rng.random() < 0.5
        other = digit if same else (digit + self.rng.integers(1, 10)) % 10
        j = self.rng.choice(self.of[other])
        return self.images[i], self.images[j], float(same)


class Embedder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.embed = nn.Linear(128, dim)

    def forward(self, x):
        return self.embed(self.features(x))


def contrastive_loss(a, b, same, margin):
    distance = F.pairwise_distance(a, b)
    near = same * distance.pow(2)
    far = (1 - same) * F.relu(margin - distance).pow(2)
    return (near + far).mean()


class Verifier:
    def __init__(self, args):
        self.net = Embedder(args.dim)
        self.optim = torch.optim.AdamW(self.net.parameters(), lr=args.lr, weight_decay=1e-3)
        self.margin = args.margin

    def epoch(self, loader):
        self.net.train()
        for a, b, same in loader:
            loss = contrastive_loss(self.net(a), self.net(b), same.float(), self.margin)
            self.optim.zero_grad()
            loss.backward()
            self.optim.step()
        return loss.item()

    @torch.no_grad()
    def distances(self, loader):
        self.net.eval()
        found = [(F.pairwise_distance(self.net(a), self.net(b)), same) for a, b, same in loader]
        return torch.cat([d for d, _ in found]), torch.cat([s for _, s in found]).bool()

    def threshold(self, loader):
        distance, same = self.distances(loader)
        tried = torch.linspace(0.05, 2 * self.margin, 60)
        right = ((distance[None] < tried[:, None]) == same).float().mean(1)
        return tried[right.argmax()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--margin", type=float, default=1.5)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args()
    torch.manual_seed(23)

    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
    order = np.random.default_rng(23).permutation(len(images))
    train, test = order[:1300], order[1300:]
    train_pairs = Pairs(images[train], digits.target[train], seed=0)
    test_pairs = Pairs(images[test], digits.target[test], seed=1)
    loader = DataLoader(train_pairs, args.batch_size, shuffle=True, drop_last=True)

    verifier = Verifier(args)
    for epoch in range(args.epochs):
        loss = verifier.epoch(loader)
        cut = verifier.threshold(loader)
        distance, same = verifier.distances(DataLoader(test_pairs, 100))
        accuracy = ((distance < cut) == same).float().mean().item()
        print(f"epoch {epoch}: loss {loss:.4f} cut {cut:.2f} test pairs told right {accuracy:.4f}")


if __name__ == "__main__":
    main()
