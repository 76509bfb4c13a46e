"""Four rhythms, played for different lengths: a GRU names the rhythm from the strokes."""

import random

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

NAMES = ["march", "waltz", "swing", "rush"]
SHARES = [0.32, 0.3, 0.26, 0.12]


def play(kind, strokes):
    """Strokes of one rhythm: the gap before each and its loudness."""
    beat, phase = random.uniform(0.8, 1.2), random.randrange(6)
    gaps, louds = [], []
    for i in range(strokes):
        k = i + phase
        gap, loud = beat, 0.3
        if kind == 0:
            loud = 1.0 if k % 2 == 0 else 0.3
        elif kind == 1:
            loud = 1.0 if k % 3 == 0 else 0.3
        elif kind == 2:
            gap = beat * (1.3 if k % 2 == 0 else 0.7)
            loud = 1.0 if k % 3 == 0 else 0.3
        else:
            gap = beat * (1.0 - 0.25 * i / strokes)
            loud = 1.0 if k % 3 == 0 else 0.3
        gaps.append(gap + random.gauss(0, 0.08))
        louds.append(loud + random.gauss(0, 0.15))
    return torch.tensor([gaps, louds]).T - torch.tensor([1.0, 0.5])


class Rhythms(Dataset):
    def __init__(self, size):
        self.labels = random.choices(range(4), weights=SHARES, k=size)
        self.strokes = [play(kind, random.randint(8, 40)) for kind in self.labels]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, item):
        return self.strokes[item], self.labels[item]


def collate(batch):
    batch = sorted(batch, key=lambda item: len(item[0]), reverse=True)
    strokes, labels = zip(*batch)
    lengths = torch.tensor([len(s) for s in strokes])
    return pad_sequence(strokes, batch_first=True), lengths, torch.tensor(labels)


class RhythmNet(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lift = nn.Linear(2, 16)
        self.gru = nn.GRU(16, hidden)
        self.head = nn.Linear(hidden, len(NAMES))

    def forward(self, x, lengths):
        x = torch.tanh(self.lift(x)).transpose(0, 1)
        out, _ = self.gru(x)
        last = out[lengths - 1, torch.arange(len(lengths))]
        return self.head(last)


def accuracy(model, loader):
    model.eval()
    right = total = 0
    with torch.no_grad():
        for x, lengths, y in loader:
            right += (model(x, lengths).argmax(1) == y).sum().item()
            total += len(y)
    return right / total


def main():
    random.seed(5)
    torch.manual_seed(5)
    train_set, test_set = Rhythms(1600), Rhythms(400)
    train_loader = DataLoader(train_set, 32, shuffle=True, collate_fn=collate)
    test_loader = DataLoader(test_set, 100, collate_fn=collate)
    counts = torch.bincount(torch.tensor(train_set.labels), minlength=4)
    model = RhythmNet()
    crit = nn.CrossEntropyLoss(weight=counts.sum() / (4 * counts))
    o = torch.optim.Adam(model.parameters(), lr=6e-3)
    for epoch in range(8):
        model.train()
        for x, lengths, y in train_loader:
            o.zero_grad()
            loss = crit(model(x, lengths), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            o.step()
        print(f"epoch {epoch}: loss {loss.item():.3f} accuracy {accuracy(model, test_loader):.4f}")


main()
