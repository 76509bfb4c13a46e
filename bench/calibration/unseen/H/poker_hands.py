"""What is in the hand? Five cards are five tokens without an order; a small Transformer names the hand."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

HANDS = ("high card", "pair", "two pairs", "three of a kind", "flush", "full house")
RANKS, SUITS = 8, 4
GROUPS = {"high card": (1, 1, 1, 1, 1), "pair": (2, 1, 1, 1), "two pairs": (2, 2, 1), "three of a kind": (3, 1, 1), "flush": (1, 1, 1, 1, 1), "full house": (3, 2)}


@dataclass
class HParams:
    per_hand: int = 1400
    dim: int = 32
    heads: int = 4
    layers: int = 2
    drop: float = 0.05
    lr: float = 5e-3
    batch: int = 64
    epochs: int = 6


def deal_one(hand, rng):
    groups = GROUPS[hand]
    ranks = rng.permutation(RANKS)[: len(groups)]
    while True:
        if hand == "flush":
            suits = np.full(5, rng.integers(SUITS))
        else:
            suits = np.concatenate([rng.permutation(SUITS)[:g] for g in groups])
            if len(set(suits)) == 1:
                continue
        cards = np.stack([np.repeat(ranks, groups), suits], axis=1)
        return cards[rng.permutation(5)]


def deal(per_hand, rng):
    """Cards (n, 5, 2) and hands (n,), one kind of hand after the other."""
    cards = [deal_one(hand, rng) for hand in HANDS for _ in range(per_hand)]
    return torch.tensor(np.stack(cards)), torch.arange(len(HANDS)).repeat_interleave(per_hand)


class Layer(nn.Module):
    def __init__(self, hp):
        super().__init__()
        self.heads, self.drop = hp.heads, hp.drop
        self.norm1, self.norm2 = nn.LayerNorm(hp.dim), nn.LayerNorm(hp.dim)
        self.qkv = nn.Linear(hp.dim, 3 * hp.dim)
        self.merge = nn.Linear(hp.dim, hp.dim)
        self.mlp = nn.Sequential(nn.Linear(hp.dim, 2 * hp.dim), nn.GELU(), nn.Linear(2 * hp.dim, hp.dim))

    def forward(self, h):
        n, cards, dim = h.shape
        q, k, v = self.qkv(self.norm1(h)).view(n, cards, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, dropout_p=self.drop if self.training else 0.0)
        h = h + self.merge(seen.transpose(1, 2).reshape(n, cards, dim))
        return h + self.mlp(self.norm2(h))


class HandNamer(nn.Module):
    def __init__(self, hp):
        super().__init__()
        self.rank, self.suit = nn.Embedding(RANKS, hp.dim), nn.Embedding(SUITS, hp.dim)
        self.layers = nn.ModuleList([Layer(hp) for _ in range(hp.layers)])
        self.norm = nn.LayerNorm(hp.dim)
        self.name = nn.Linear(hp.dim, len(HANDS))

    def forward(self, cards):
        h = self.rank(cards[..., 0]) + self.suit(cards[..., 1])
        for layer in self.layers:
            h = layer(h)
        return self.name(self.norm(h).mean(dim=1))


def batches(cards, hands, size):
    order = torch.randperm(len(cards))
    for i in range(0, len(order), size):
        yield cards[order[i : i + size]], hands[order[i : i + size]]


def accuracy(model, cards, hands):
    model.eval()
    with torch.no_grad():
        return (model(cards).argmax(1) == hands).float().mean().item()


def main():
    hp = HParams()
    torch.manual_seed(52)
    rng = np.random.default_rng(52)
    train, val, test = deal(hp.per_hand, rng), deal(60, rng), deal(150, rng)
    model = HandNamer(hp)
    optimizer = torch.optim.AdamW(model.parameters(), lr=hp.lr, weight_decay=0.01)
    total = hp.epochs * math.ceil(len(train[0]) / hp.batch)
    rise = 50
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rise, max(0.0, (total - step) / (total - rise)))
    )
    for epoch in range(hp.epochs):
        model.train()
        losses = []
        for cards, hands in batches(*train, hp.batch):
            loss = F.cross_entropy(model(cards), hands)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f} val accuracy {accuracy(model, *val):.4f}")
    print(f"test accuracy {accuracy(model, *test):.4f}")


if __name__ == "__main__":
    main()
