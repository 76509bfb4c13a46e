"""Which gesture was it? A temporal convolutional network reads a wrist sensor, sample by sample, and never looks ahead."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

GESTURES = ("swipe left", "swipe right", "circle", "circle back", "shake")


@dataclass
class Settings:
    channels: int = 20
    levels: int = 4
    drop: float = 0.1
    batch_size: int = 32
    epochs: int = 11
    max_lr: float = 6e-3
    seed: int = 21


def record(rng, gesture):
    """One recording in milli-g: three axes, gravity mostly on the third."""
    n = int(rng.integers(30, 64))
    t = np.linspace(0, 1, n)
    start, width = rng.uniform(0.15, 0.45), rng.uniform(0.3, 0.5)
    phase = np.clip((t - start) / width, 0, 1) * 2 * np.pi
    on = (phase > 0) & (phase < 2 * np.pi)
    power = rng.uniform(150, 340)
    x, y = np.zeros(n), np.zeros(n)
    if gesture == 0:
        x = -np.sin(phase)
    elif gesture == 1:
        x = np.sin(phase)
    elif gesture == 2:
        x, y = np.cos(phase) * on, np.sin(phase)
    elif gesture == 3:
        x, y = np.cos(phase) * on, -np.sin(phase)
    else:
        x = np.sin(3 * phase)
    tilt = rng.normal(0, 60, size=3)
    signal = np.stack([power * x, power * y, np.full(n, 1000.0)]) + tilt[:, None] + rng.normal(0, 40, size=(3, n))
    return signal.T.astype("float32")


class Recordings(Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(len(GESTURES), size=count)
        self.signals = [record(rng, g) for g in self.labels]

    def statistics(self):
        everything = np.concatenate(self.signals)
        return everything.mean(0), everything.std(0)

    def standardise(self, mean, std):
        self.signals = [(s - mean) / std for s in self.signals]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.signals[i]), int(self.labels[i])


def collate(items):
    signals, labels = zip(*items)
    lengths = torch.tensor([len(s) for s in signals])
    return pad_sequence(signals, batch_first=True).transpose(1, 2), lengths, torch.tensor(labels)


class CausalBlock(nn.Module):
    def __init__(self, c_in, c_out, dilation, drop):
        super().__init__()
        self.pad = 2 * dilation
        self.conv1 = nn.Conv1d(c_in, c_out, 3, dilation=dilation)
        self.conv2 = nn.Conv1d(c_out, c_out, 3, dilation=dilation)
        self.drop = nn.Dropout(drop)
        self.shortcut = nn.Conv1d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x):
        h = self.drop(F.relu(self.conv1(F.pad(x, (self.pad, 0)))))
        h = self.drop(F.relu(self.conv2(F.pad(h, (self.pad, 0)))))
        return F.relu(h + self.shortcut(x))


class TCN(nn.Module):
    def __init__(self, s):
        super().__init__()
        widths = [3] + [s.channels] * s.levels
        blocks = [CausalBlock(a, b, 2**i, s.drop) for i, (a, b) in enumerate(zip(widths, widths[1:]))]
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(s.channels, len(GESTURES))

    def forward(self, x, lengths):
        for block in self.blocks:
            x = block(x)
        final = x[torch.arange(len(x)), :, lengths - 1]
        return self.head(final)


class Trainer:
    def __init__(self, settings):
        self.s = settings
        torch.manual_seed(settings.seed)
        train, val = Recordings(1000, seed=1), Recordings(400, seed=2)
        mean, std = train.statistics()
        train.standardise(mean, std)
        val.standardise(mean, std)
        self.train_loader = DataLoader(train, settings.batch_size, shuffle=True, collate_fn=collate)
        self.val_loader = DataLoader(val, 100, collate_fn=collate)
        self.model = TCN(settings)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.max_lr)
        total = settings.epochs * len(self.train_loader)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, settings.max_lr, total_steps=total)

    def train_epoch(self):
        self.model.train()
        for x, lengths, y in self.train_loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x, lengths), y)
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        loss, right, seen = 0.0, 0, 0
        for x, lengths, y in self.val_loader:
            logits = self.model(x, lengths)
            loss += self.criterion(logits, y).item() * len(y)
            right += (logits.argmax(1) == y).sum().item()
            seen += len(y)
        return loss / seen, right / seen

    def fit(self):
        for epoch in range(self.s.epochs):
            self.train_epoch()
            loss, accuracy = self.validate()
            print(f"epoch {epoch + 1:2d}  val loss {loss:.4f}  val accuracy {accuracy:.4f}")


if __name__ == "__main__":
    Trainer(Settings()).fit()
