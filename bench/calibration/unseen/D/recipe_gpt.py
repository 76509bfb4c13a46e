"""A tiny GPT that learns, letter by letter, how recipes are written."""

import math
import random
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class Config:
    context: int = 48
    width: int = 64
    heads: int = 4
    depth: int = 2
    batch: int = 16
    steps: int = 240
    warmup: int = 30
    peak_lr: float = 4e-3
    min_lr: float = 2e-4
    seed: int = 21


FOOD = {"flour": "g", "sugar": "g", "milk": "ml", "water": "ml", "butter": "g", "oil": "ml", "rice": "g", "cream": "ml"}
VERBS = {"g": ["add", "weigh", "sift"], "ml": ["pour", "boil", "warm"]}


def recipe(rng):
    steps = []
    for n, food in enumerate(rng.sample(sorted(FOOD), rng.randint(2, 4)), 1):
        unit = FOOD[food]
        amount = rng.randint(1, 9) * (50 if unit == "g" else 100)
        steps.append(f"{n}. {rng.choice(VERBS[unit])} {amount} {unit} of {food}")
    return "; ".join(steps) + ". serve.\n"


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.heads = cfg.heads
        self.ln1, self.ln2 = nn.LayerNorm(cfg.width), nn.LayerNorm(cfg.width)
        self.qkv = nn.Linear(cfg.width, 3 * cfg.width)
        self.proj = nn.Linear(cfg.width, cfg.width)
        self.mlp = nn.Sequential(nn.Linear(cfg.width, 4 * cfg.width), nn.GELU(), nn.Linear(4 * cfg.width, cfg.width))

    def attend(self, x):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(b, t, c))

    def forward(self, x):
        x = x + self.attend(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, cfg, n_letters):
        super().__init__()
        self.letters = nn.Embedding(n_letters, cfg.width)
        self.places = nn.Embedding(cfg.context, cfg.width)
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.depth))
        self.norm = nn.LayerNorm(cfg.width)
        self.head = nn.Linear(cfg.width, n_letters, bias=False)
        self.apply(self.init_weights)

    @staticmethod
    def init_weights(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.05)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, ids):
        x = self.letters(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def lr_at(step, cfg):
    if step < cfg.warmup:
        return cfg.peak_lr * (step + 1) / cfg.warmup
    done = (step - cfg.warmup) / (cfg.steps - cfg.warmup)
    return cfg.min_lr + 0.5 * (cfg.peak_lr - cfg.min_lr) * (1 + math.cos(math.pi * done))


def cut(text_ids, starts, cfg):
    rows = torch.stack([text_ids[s : s + cfg.context + 1] for s in starts])
    return rows[:, :-1], rows[:, 1:]


def nats_per_letter(model, text_ids, cfg):
    x, y = cut(text_ids, range(0, len(text_ids) - cfg.context - 1, cfg.context), cfg)
    model.eval()
    with torch.no_grad():
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
    model.train()
    return loss.item()


def main():
    cfg = Config()
    torch.manual_seed(cfg.seed)
    rng = random.Random(cfg.seed)
    train_text = "".join(recipe(rng) for _ in range(1500))
    valid_text = "".join(recipe(rng) for _ in range(80))
    vocabulary = {letter: i for i, letter in enumerate(sorted(set(train_text)))}
    train_ids, valid_ids = (torch.tensor([vocabulary[c] for c in t]) for t in (train_text, valid_text))

    model = GPT(cfg, len(vocabulary))
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.peak_lr, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(cfg.steps):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step, cfg)
        x, y = cut(train_ids, torch.randint(len(train_ids) - cfg.context - 1, (cfg.batch,)).tolist(), cfg)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 60 == 0:
            print(f"step {step + 1}: train {loss.item():.4f}, valid {nats_per_letter(model, valid_ids, cfg):.4f}")


if __name__ == "__main__":
    main()
