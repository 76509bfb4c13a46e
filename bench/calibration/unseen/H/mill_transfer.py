"""Vibration of mills: a net is trained on the many records of the old mill; its trunk serves the few of the new one.

The new mill has other kinds of damage, so it gets a head of its own; the trunk is taken over and kept as it is.
"""

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 64
OLD_MILL = [(3, 0.0), (5, 0.0), (7, 0.0), (9, 0.0), (3, 1.0), (5, 1.0), (7, 1.0), (9, 1.0)]
NEW_MILL = [(4, 0.0), (6, 0.0), (8, 0.0), (4, 1.0), (6, 1.0), (8, 1.0)]


def records(mill, per_kind, seed):
    """Per kind of damage a hum of some frequency, with knocks or without; any phase, any loudness."""
    rng = np.random.default_rng(seed)
    t = np.arange(LENGTH) / LENGTH
    signals, kinds = [], []
    for kind, (frequency, knocks) in enumerate(mill):
        for _ in range(per_kind):
            hum = np.sin(2 * np.pi * (rng.normal(frequency, 0.15) * t + rng.random()))
            period, first = rng.integers(9, 14), rng.integers(0, 9)
            knock = np.zeros(LENGTH)
            knock[first::period] = 1.0
            knock = np.convolve(knock, [1.0, -0.8, 0.5, -0.3])[:LENGTH]
            signals.append(rng.uniform(0.7, 1.2) * (hum + 1.2 * knocks * knock) + rng.normal(0, 0.35, LENGTH))
            kinds.append(kind)
    return TensorDataset(torch.tensor(np.stack(signals)[:, None], dtype=torch.float32), torch.tensor(kinds))


class MillNet(nn.Module):
    def __init__(self, kinds):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv1d(1, 16, 7, padding=3),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 7, padding=3),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(4),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.ReLU(),
        )
        self.head = nn.Linear(32, kinds)

    def forward(self, signal):
        return self.head(self.trunk(signal))


def score(net, loader):
    net.eval()
    hits = [net(signal).argmax(1) == kind for signal, kind in loader]
    return torch.cat(hits).float().mean().item()


def train(net, optimizer, loader, val_loader, epochs, mill):
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(1, epochs + 1):
        net.train()
        net.trunk.train(mill == "old")  # a trunk that is kept must keep the statistics of its norms, too
        for signal, kind in loader:
            loss = loss_fn(net(signal), kind)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 2 == 0:
            with torch.no_grad():
                print(f"{mill} mill, epoch {epoch}: loss {loss.item():.4f}, val accuracy {score(net, val_loader):.4f}")


def main():
    torch.manual_seed(66)
    old_loader = DataLoader(records(OLD_MILL, 300, seed=1), batch_size=48, shuffle=True)
    old_val = DataLoader(records(OLD_MILL, 40, seed=2), batch_size=160)
    new_loader = DataLoader(records(NEW_MILL, 60, seed=3), batch_size=24, shuffle=True)
    new_val = DataLoader(records(NEW_MILL, 30, seed=4), batch_size=180)
    new_test = DataLoader(records(NEW_MILL, 150, seed=5), batch_size=180)

    old = MillNet(len(OLD_MILL))
    train(old, optim.AdamW(old.parameters(), lr=2e-3), old_loader, old_val, 6, "old")

    new = MillNet(len(NEW_MILL))
    taken = {name: value for name, value in old.state_dict().items() if name.startswith("trunk.")}
    new.load_state_dict(taken, strict=False)
    for p in new.trunk.parameters():
        p.requires_grad_(False)
    train(new, optim.AdamW(new.head.parameters(), lr=1e-2), new_loader, new_val, 14, "new")
    with torch.no_grad():
        print(f"new mill, test accuracy: {score(new, new_test):.4f}")


if __name__ == "__main__":
    main()
