"""Stamps and postmarks of the same letter meet in one space; scored by how often the right postmark is the nearest."""

import torch
import torch.nn.functional as F
from torch import nn


class Letters:
    """Stamp (20 colour readings) and postmark (28 ink readings), both of them images of one hidden origin."""

    def __init__(self, seed):
        self.rng = torch.Generator().manual_seed(seed)
        self.colour = torch.randn(5, 20, generator=self.rng)
        self.ink = torch.randn(5, 28, generator=self.rng)

    def post(self, n):
        origin = torch.randn(n, 5, generator=self.rng)
        stamp = torch.sin(origin @ self.colour) + 0.05 * torch.randn(n, 20, generator=self.rng)
        mark = torch.tanh(origin @ self.ink) + 0.05 * torch.randn(n, 28, generator=self.rng)
        return stamp, mark


class Tower(nn.Module):
    def __init__(self, n_in, n_out=16, width=96):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_in, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, n_out)
        )

    def forward(self, x):
        return F.normalize(self.layers(x), dim=-1)


class Matcher(nn.Module):
    def __init__(self):
        super().__init__()
        self.stamp_tower = Tower(20)
        self.mark_tower = Tower(28)
        self.log_scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, stamp, mark):
        scale = self.log_scale.exp().clamp(max=40.0)
        return scale * self.stamp_tower(stamp) @ self.mark_tower(mark).mT

    def loss(self, stamp, mark):
        similar = self(stamp, mark)
        there = similar.log_softmax(dim=1).diagonal()
        back = similar.log_softmax(dim=0).diagonal()
        return -(there + back).mean() / 2


def hit_rate(matcher, stamps, marks, among=100):
    matcher.eval()
    with torch.no_grad():
        hits = [
            matcher(s, m).argmax(dim=1) == torch.arange(len(s)) for s, m in zip(stamps.split(among), marks.split(among))
        ]
    return torch.cat(hits).float().mean().item()


def train(matcher, optimizer, schedule, stamps, marks, epochs, batch, watch):
    for epoch in range(epochs):
        matcher.train()
        order = torch.randperm(len(stamps))
        for rows in order.split(batch):
            loss = matcher.loss(stamps[rows], marks[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"{epoch + 1:3d} loss {loss.item():.4f} held-out hit rate {watch():.4f}")


if __name__ == "__main__":
    torch.manual_seed(6)
    letters = Letters(seed=12)
    stamps, marks = letters.post(6000)
    new_stamps, new_marks = letters.post(1000)
    matcher = Matcher()
    epochs, batch = 9, 100
    optimizer = torch.optim.AdamW(matcher.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / (epochs * len(stamps) / batch))
    train(matcher, optimizer, schedule, stamps, marks, epochs, batch, lambda: hit_rate(matcher, new_stamps, new_marks))
    print(f"held-out hit rate {hit_rate(matcher, new_stamps, new_marks):.4f}")
