"""Who walks there? Embeddings of accelerometer windows, learned on some walkers and tried on others, who were never seen."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

STEPS, AXES, HARMONICS = 24, 3, 3


class Walkers(Dataset):
    """Windows of so many walkers. A walker is the heights and the phases of some harmonics on each axis."""

    def __init__(self, walkers, windows, generator):
        heights = 0.3 + torch.rand(walkers, HARMONICS, AXES, generator=generator)
        phases = 2 * math.pi * torch.rand(walkers, HARMONICS, AXES, generator=generator)
        self.who = torch.arange(walkers).repeat_interleave(windows)
        n = len(self.who)
        start = 2 * math.pi * torch.rand(n, 1, 1, 1, generator=generator)
        pace = 1.8 + 0.4 * torch.rand(n, 1, 1, 1, generator=generator)
        t = torch.linspace(0, 2 * math.pi, STEPS).view(1, STEPS, 1, 1)
        order = torch.arange(1, HARMONICS + 1).view(1, 1, HARMONICS, 1)
        waves = heights[self.who].unsqueeze(1) * torch.sin(order * (pace * t + start) + phases[self.who].unsqueeze(1))
        self.windows = waves.sum(2) + 0.25 * torch.randn(n, STEPS, AXES, generator=generator)

    def __len__(self):
        return len(self.who)

    def __getitem__(self, i):
        return self.windows[i], self.who[i]


class GaitEncoder(nn.Module):
    def __init__(self, hidden=32, dim=16):
        super().__init__()
        self.rnn = nn.GRU(AXES, hidden, batch_first=True, bidirectional=True)
        self.project = nn.Linear(2 * hidden, dim)

    def forward(self, windows):
        _, h_n = self.rnn(windows)
        both = h_n.transpose(0, 1).reshape(len(windows), -1)
        return F.normalize(self.project(both), dim=1)


class NormalisedSoftmax(nn.Module):
    """Each walker of the training has a proxy; a window is to lie nearer to its own than to any other."""

    def __init__(self, walkers, dim=16, temperature=0.1):
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(walkers, dim))
        self.temperature = temperature

    def forward(self, embeddings, who):
        cosine = embeddings @ F.normalize(self.proxies, dim=1).t()
        return F.cross_entropy(cosine / self.temperature, who)


def nearest_is_same(encoder, dataset):
    """Recall at one: is the nearest other window of the same walker?"""
    encoder.eval()
    with torch.no_grad():
        z = encoder(dataset.windows)
    similarity = (z @ z.t()).fill_diagonal_(-1)
    encoder.train()
    return (dataset.who[similarity.argmax(1)] == dataset.who).float().mean().item()


def main():
    torch.manual_seed(16)
    generator = torch.Generator().manual_seed(16)
    known, strangers = Walkers(60, 16, generator), Walkers(20, 16, generator)
    loader = DataLoader(known, batch_size=40, shuffle=True)

    encoder = GaitEncoder()
    criterion = NormalisedSoftmax(walkers=60)
    optimizer = torch.optim.NAdam([{"params": encoder.parameters()}, {"params": criterion.parameters(), "lr": 0.02}], lr=5e-3)
    for epoch in range(1, 13):
        total = 0.0
        for windows, who in loader:
            loss = criterion(encoder(windows), who)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_value_(encoder.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        if epoch % 2 == 0:
            print(f"epoch {epoch}: loss {total / len(loader):.3f}, recall@1 of strangers {nearest_is_same(encoder, strangers):.4f}")


if __name__ == "__main__":
    main()
