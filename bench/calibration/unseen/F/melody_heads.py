"""Goes on with melodies: a small causal Transformer, attention written out, that says which note comes next."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Settings:
    notes: int = 9
    length: int = 16
    dim: int = 32
    heads: int = 2
    layers: int = 2
    drop: float = 0.05
    lr: float = 4e-3
    batch: int = 40
    epochs: int = 9
    betas: tuple = field(default=(0.9, 0.98))


def compose(count, cfg, seed):
    """The next note follows from the last two by rules that all melodies share; one in ten is free."""
    g = torch.Generator().manual_seed(seed)
    out = torch.zeros(count, cfg.length + 1, dtype=torch.long)
    out[:, :2] = torch.randint(0, cfg.notes, (count, 2), generator=g)
    for t in range(2, cfg.length + 1):
        before, last = out[:, t - 2], out[:, t - 1]
        ruled = torch.where(last % 2 == 0, (before + 5) % cfg.notes, (last + before + 1) % cfg.notes)
        free = torch.randint(0, cfg.notes, (count,), generator=g)
        out[:, t] = torch.where(torch.rand(count, generator=g) < 0.1, free, ruled)
    return out


class SelfAttention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.heads = cfg.heads
        self.qkv = nn.Linear(cfg.dim, 3 * cfg.dim)
        self.join = nn.Linear(cfg.dim, cfg.dim)
        later = torch.ones(cfg.length, cfg.length, dtype=torch.bool).triu(1)
        self.register_buffer("later", later)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (p.reshape(b, t, self.heads, -1).transpose(1, 2) for p in self.qkv(x).chunk(3, dim=-1))
        scores = q @ k.mT / (d // self.heads) ** 0.5
        scores = scores.masked_fill(self.later[:t, :t], float("-inf"))
        seen = torch.softmax(scores, dim=-1) @ v
        return self.join(seen.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(cfg.dim), nn.LayerNorm(cfg.dim)
        self.attend = SelfAttention(cfg)
        self.think = nn.Sequential(nn.Linear(cfg.dim, 2 * cfg.dim), nn.GELU(), nn.Linear(2 * cfg.dim, cfg.dim))
        self.drop = nn.Dropout(cfg.drop)

    def forward(self, x):
        x = x + self.drop(self.attend(self.norm1(x)))
        return x + self.drop(self.think(self.norm2(x)))


class MelodyModel(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.note = nn.Embedding(cfg.notes, cfg.dim)
        self.place = nn.Parameter(0.02 * torch.randn(cfg.length, cfg.dim))
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))
        self.norm = nn.LayerNorm(cfg.dim)
        self.out = nn.Linear(cfg.dim, cfg.notes)

    def forward(self, melody):
        x = self.note(melody) + self.place[: melody.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))


def loss_of(model, melodies):
    x, y = melodies[:, :-1], melodies[:, 1:]
    logits = model(x)
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


def train(cfg):
    torch.manual_seed(3)
    known, unheard = compose(1200, cfg, seed=1), compose(300, cfg, seed=2)
    model = MelodyModel(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, betas=cfg.betas, weight_decay=0.01)
    steps = cfg.epochs * (len(known) // cfg.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=cfg.lr, total_steps=steps, pct_start=0.2)
    for epoch in range(1, cfg.epochs + 1):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(known)).split(cfg.batch):
            loss = loss_of(model, known[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        model.eval()
        with torch.inference_mode():
            val = loss_of(model, unheard).item()
        print(f"{epoch:2d}: {total / len(known):.4f} nats a note, unheard melodies {val:.4f}")


if __name__ == "__main__":
    train(Settings())
