"""Which of four calls did the whale make? Contours of pitch and loudness, of any length, some calls much rarer than others."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

CALLS = ("moan", "upsweep", "arch", "trill")
SHARES = (0.62, 0.24, 0.10, 0.04)


@dataclass
class Settings:
    hidden: int = 32
    lr: float = 4e-3
    batch: int = 32
    epochs: int = 10
    n_train: int = 1200
    n_val: int = 600
    clip: float = 1.0


class Calls(Dataset):
    """Recordings of 12 to 40 frames; each frame has a pitch and a loudness."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.kinds = torch.as_tensor(rng.choice(len(CALLS), size=n, p=SHARES))
        self.frames = [torch.as_tensor(self.sing(rng, CALLS[k]), dtype=torch.float32) for k in self.kinds]

    @staticmethod
    def sing(rng, call):
        n = rng.integers(12, 41)
        t = np.linspace(0, 1, n)
        if call == "moan":
            pitch = rng.uniform(-0.5, 0.5) * t
        elif call == "upsweep":
            pitch = rng.uniform(1.0, 2.0) * t**2
        elif call == "arch":
            pitch = rng.uniform(1.0, 2.0) * np.sin(np.pi * t)
        else:
            pitch = 0.6 * np.sin(2 * np.pi * rng.uniform(3, 5) * t + rng.uniform(0, 6))
        pitch = pitch + rng.normal(0, 0.4) + 0.25 * rng.standard_normal(n)
        loud = np.sin(np.pi * t) + 0.2 * rng.standard_normal(n)
        return np.stack([pitch, loud], axis=1)

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, i):
        return self.frames[i], self.kinds[i]


def collate(items):
    frames, kinds = zip(*items)
    lengths = torch.tensor([len(f) for f in frames])
    return pad_sequence(frames, batch_first=True), lengths, torch.stack(kinds)


class CallNet(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.head = nn.Linear(hidden, len(CALLS))

    def forward(self, frames, lengths):
        packed = pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)
        _, state = self.gru(packed)
        return self.head(state[-1])


def balanced_accuracy(model, loader):
    """The mean of the recalls of the four calls."""
    model.eval()
    hits, counts = torch.zeros(len(CALLS)), torch.zeros(len(CALLS))
    with torch.no_grad():
        for frames, lengths, kinds in loader:
            right = (model(frames, lengths).argmax(dim=1) == kinds).float()
            hits.index_add_(0, kinds, right)
            counts += torch.bincount(kinds, minlength=len(CALLS))
    return (hits / counts).mean().item()


def main(cfg):
    torch.manual_seed(3)
    train_set, val_set = Calls(cfg.n_train, seed=1), Calls(cfg.n_val, seed=2)
    train_loader = DataLoader(train_set, batch_size=cfg.batch, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(val_set, batch_size=100, collate_fn=collate)

    counts = torch.bincount(train_set.kinds, minlength=len(CALLS)).float()
    weight = (counts.sum() / counts).sqrt()
    weight = weight / weight.mean()
    criterion = nn.CrossEntropyLoss(weight=weight)
    model = CallNet(cfg.hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)

    for epoch in range(cfg.epochs):
        model.train()
        total = 0.0
        for frames, lengths, kinds in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(frames, lengths), kinds)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), cfg.clip)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(train_loader):.4f}, balanced {balanced_accuracy(model, val_loader):.4f}")
    print(f"balanced accuracy {balanced_accuracy(model, val_loader):.4f}")


if __name__ == "__main__":
    main(Settings())
