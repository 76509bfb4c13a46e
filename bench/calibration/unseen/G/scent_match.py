"""Match the chromatogram of a perfume to the words of those who smelt it: two towers, one space."""

import copy
from itertools import chain

import torch
import torch.nn as nn
import torch.nn.functional as F

PEAKS, WORDS, NOTES = 48, 30, 7
TEMPERATURE = 0.1


class Perfumery:
    """Perfumes are mixtures of a few notes; both the peaks and the words come of them, each in its own way."""

    def __init__(self):
        self.spectra = torch.randn(NOTES, PEAKS)
        self.speech = torch.randn(NOTES, WORDS)

    def make(self, n):
        mixture = torch.randn(n, NOTES)
        peaks = F.softplus(mixture @ self.spectra) + 0.25 * torch.randn(n, PEAKS)
        words = torch.tanh(mixture @ self.speech) + 0.25 * torch.randn(n, WORDS)
        return peaks, words


class Tower(nn.Module):
    def __init__(self, n_in, hidden=64, space=16):
        super().__init__()
        self.lift = nn.Linear(n_in, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.act = nn.LeakyReLU(0.1)
        self.land = nn.Linear(hidden, space)

    def forward(self, x):
        return F.normalize(self.land(self.act(self.norm(self.lift(x)))), dim=-1)


def match_loss(a, b):
    similar = a @ b.T / TEMPERATURE
    own = torch.arange(len(a))
    return (F.cross_entropy(similar, own) + F.cross_entropy(similar.T, own)) / 2


@torch.no_grad()
def found_first(nose, mouth, peaks, words):
    """Share of perfumes whose own description is the nearest of all."""
    nose.eval(), mouth.eval()
    return ((nose(peaks) @ mouth(words).T).argmax(1) == torch.arange(len(peaks))).float().mean().item()


def train(nose, mouth, data, val, epochs=16, batch=64, patience=5):
    peaks, words = data
    optimizer = torch.optim.AdamW(chain(nose.parameters(), mouth.parameters()), lr=2e-3, weight_decay=1e-3)
    best, kept, bad = 0.0, None, 0
    for epoch in range(epochs):
        nose.train(), mouth.train()
        losses = []
        for rows in torch.randperm(len(peaks)).split(batch):
            loss = match_loss(nose(peaks[rows]), mouth(words[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        score = found_first(nose, mouth, *val)
        print(f"epoch {epoch:2d}  loss {sum(losses) / len(losses):.3f}  validation found first {score:.3f}")
        if score > best:
            best, bad = score, 0
            kept = copy.deepcopy((nose.state_dict(), mouth.state_dict()))
        else:
            bad += 1
            if bad == patience:
                break
    nose.load_state_dict(kept[0])
    mouth.load_state_dict(kept[1])


if __name__ == "__main__":
    torch.manual_seed(13)
    house = Perfumery()
    data, val, test = house.make(2560), house.make(200), house.make(300)
    scales = [(part.mean(0), part.std(0)) for part in data]
    data, val, test = ([(x - m) / s for x, (m, s) in zip(pair, scales)] for pair in (data, val, test))
    nose, mouth = Tower(PEAKS), Tower(WORDS)
    train(nose, mouth, data, val)
    print(f"test found first {found_first(nose, mouth, *test):.4f}")
