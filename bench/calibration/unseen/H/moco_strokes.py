"""Momentum contrast: two noisy looks at the same pen stroke belong together, a queue of earlier strokes are the others.
No labels are used in training; the score is how often the nearest neighbour of a held-out stroke is of its own kind."""

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

POINTS, KINDS, QUEUE = 16, 8, 512


def strokes(n, g):
    """Pen paths [n, 2 * POINTS] of eight kinds, and the kinds; each kind is a curve with its own pair of frequencies."""
    kind = torch.randint(KINDS, (n,), generator=g)
    t = torch.linspace(0, 1, POINTS)
    a, b = (kind % 4 + 1).float(), (kind // 4 + 1).float()
    phase = 0.5 * torch.randn(n, 1, generator=g)
    x = torch.cos(math.pi * a[:, None] * t + phase)
    y = torch.sin(2 * math.pi * b[:, None] * t + phase)
    return torch.stack([x, y], dim=1), kind


def look(paths):
    """A random look at a path: a little turned, larger or smaller, shaken."""
    n = len(paths)
    angle = 0.4 * torch.randn(n)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(n, 2, 2)
    size = torch.empty(n, 1, 1).uniform_(0.7, 1.3)
    return size * turn @ paths + 0.15 * torch.randn_like(paths)


class Encoder(nn.Module):
    def __init__(self, width=96, out=24):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * POINTS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out)
        )

    def forward(self, paths):
        return F.normalize(self.net(paths), dim=-1)


class MoCo(nn.Module):
    def __init__(self, temperature=0.1, momentum=0.98):
        super().__init__()
        self.query, self.temperature, self.momentum = Encoder(), temperature, momentum
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(QUEUE, 24), dim=-1))

    @torch.no_grad()
    def follow(self):
        for slow, fast in zip(self.key.parameters(), self.query.parameters()):
            slow.lerp_(fast, 1 - self.momentum)

    def forward(self, one, other):
        q = self.query(one)
        with torch.no_grad():
            self.follow()
            k = self.key(other)
        own = (q * k).sum(dim=1, keepdim=True)
        others = q @ self.queue.T
        logits = torch.cat([own, others], dim=1) / self.temperature
        self.queue = torch.cat([k, self.queue])[:QUEUE]
        return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))


@torch.no_grad()
def neighbours(encoder, bank, bank_kind, asked, asked_kind):
    encoder.eval()
    nearest = (encoder(asked) @ encoder(bank).T).argmax(dim=1)
    encoder.train()
    return (bank_kind[nearest] == asked_kind).float().mean().item()


torch.manual_seed(21)
g = torch.Generator().manual_seed(6)
paths, _ = strokes(4000, g)
bank, bank_kind = strokes(160, g)
asked, asked_kind = strokes(1000, g)
bank, asked = look(bank), look(asked)

moco = MoCo()
optimizer = torch.optim.AdamW(moco.query.parameters(), lr=2e-3, weight_decay=1e-4)
STEPS = 1000
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=STEPS)
for step in range(STEPS):
    batch = paths[torch.randint(len(paths), (64,))]
    loss = moco(look(batch), look(batch))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 200 == 199:
        right = neighbours(moco.query, bank, bank_kind, asked, asked_kind)
        print(f"step {step + 1}: loss {loss.item():.4f}, nearest neighbour right {right:.4f}")
print(f"nearest neighbour right {neighbours(moco.key, bank, bank_kind, asked, asked_kind):.4f}")
