"""Vision transformer, very small: the 8x8 digits cut into sixteen patches of 2x2."""

import math
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import nn


@dataclass
class Config:
    patch: int = 2
    dim: int = 40
    heads: int = 4
    depth: int = 2
    drop: float = 0.05
    lr: float = 3e-3
    weight_decay: float = 0.02
    warmup: int = 30
    epochs: int = 9
    batch: int = 40
    seed: int = 7


class SelfAttention(nn.Module):
    def __init__(self, dim, heads, drop):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)
        weights = self.drop(scores.softmax(dim=-1))
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.ln1 = nn.LayerNorm(cfg.dim)
        self.attn = SelfAttention(cfg.dim, cfg.heads, cfg.drop)
        self.ln2 = nn.LayerNorm(cfg.dim)
        self.mlp = nn.Sequential(
            nn.Linear(cfg.dim, 2 * cfg.dim), nn.GELU(), nn.Dropout(cfg.drop), nn.Linear(2 * cfg.dim, cfg.dim)
        )

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class ViT(nn.Module):
    def __init__(self, cfg, n_classes=10):
        super().__init__()
        n_patches = (8 // cfg.patch) ** 2
        self.to_tokens = nn.Conv2d(1, cfg.dim, cfg.patch, stride=cfg.patch)
        self.pos = nn.Parameter(torch.randn(1, n_patches, cfg.dim) * 0.3)
        self.blocks = nn.Sequential(*[Block(cfg) for _ in range(cfg.depth)])
        self.norm = nn.LayerNorm(cfg.dim)
        self.head = nn.Linear(cfg.dim, n_classes)

    def forward(self, images):
        tokens = self.to_tokens(images).flatten(2).transpose(1, 2)
        x = self.blocks(tokens + self.pos)
        return self.head(self.norm(x).mean(dim=1))


def load(cfg):
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8.0 - 1.0
    labels = torch.tensor(digits.target)
    g = torch.Generator().manual_seed(cfg.seed)
    perm = torch.randperm(len(images), generator=g)
    images = images[perm]
    labels = labels[perm]
    return (images[:1437], labels[:1437]), (images[1437:], labels[1437:])


def warmup_cosine(cfg, total):
    def factor(step):
        if step < cfg.warmup:
            return (step + 1) / cfg.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - cfg.warmup) / (total - cfg.warmup)))

    return factor


def evaluate(model, x, y):
    model.eval()
    with torch.inference_mode():
        return (model(x).argmax(1) == y).float().mean().item()


def fit(cfg):
    torch.manual_seed(cfg.seed)
    (x, y), (x_val, y_val) = load(cfg)
    model = ViT(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)
    per_epoch = math.ceil(len(x) / cfg.batch)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(cfg, cfg.epochs * per_epoch))
    for epoch in range(cfg.epochs):
        model.train()
        for idx in torch.randperm(len(x)).split(cfg.batch):
            loss = nn.functional.cross_entropy(model(x[idx]), y[idx])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            scheduler.step()
        print(f"epoch {epoch + 1:2d} | loss {loss.item():.4f} | val acc {evaluate(model, x_val, y_val):.4f}")


fit(Config())
