"""A small causal Transformer learns to add: it reads "37+8=" and writes "45", letter by letter. Sums have different
lengths, so they are padded; only the letters after the equals sign count."""

import argparse
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

LETTERS = "_0123456789+=."  # "_" is padding, "." ends a sum
CODE = {c: i for i, c in enumerate(LETTERS)}
PAD, IGNORE, LONGEST = 0, -100, 9


def sums():
    """All sums of two numbers below 40, in a fixed random order, written with the last digit first."""
    every = [(a, b) for a in range(40) for b in range(40)]
    random.Random(4).shuffle(every)
    return [f"{a}+{b}={str(a + b)[::-1]}." for a, b in every]


def encode(lines):
    """Inputs and, at each place, the letter that comes next; places before the equals sign and the padding are ignored."""
    ids = torch.full((len(lines), LONGEST), PAD)
    target = torch.full((len(lines), LONGEST), IGNORE)
    for row, line in enumerate(lines):
        codes = torch.tensor([CODE[c] for c in line])
        ids[row, : len(codes)] = codes
        equals = line.index("=")
        target[row, equals : len(codes) - 1] = codes[equals + 1 :]
    return ids, target


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.ff = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def attend(self, x):
        b, t, d = x.shape
        q, k, v = (f(x).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
        later = torch.ones(t, t, dtype=torch.bool).triu(1)
        weights = F.softmax(scores.masked_fill(later, float("-inf")), dim=-1)
        return self.o(torch.einsum("bhqk,bhkd->bhqd", weights, v).transpose(1, 2).reshape(b, t, d))

    def forward(self, x):
        x = x + self.attend(self.ln1(x))
        return x + self.ff(self.ln2(x))


class Abacus(nn.Module):
    def __init__(self, d=48, heads=4, depth=2):
        super().__init__()
        self.letter = nn.Embedding(len(LETTERS), d)
        self.place = nn.Embedding(LONGEST, d)
        self.blocks = nn.ModuleList([Block(d, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(d)
        self.out = nn.Linear(d, len(LETTERS))

    def forward(self, ids):
        x = self.letter(ids) + self.place(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))


def letter_loss(logits, target):
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=IGNORE)


@torch.no_grad()
def evaluate(model, ids, target):
    """Loss per letter, and the share of the letters of the answers that are written rightly, given those before them."""
    model.eval()
    logits = model(ids)
    counted = target != IGNORE
    return letter_loss(logits, target).item(), (logits.argmax(-1) == target)[counted].float().mean().item()


def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--steps", type=int, default=500)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--warmup", type=int, default=60)
    p.add_argument("--held-out", type=int, default=200)
    return p.parse_args()


def main():
    args = parse()
    torch.manual_seed(0)
    ids, target = encode(sums())
    train_ids, train_target = ids[args.held_out :], target[args.held_out :]
    val_ids, val_target = ids[: args.held_out], target[: args.held_out]

    model = Abacus()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.05)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.02, total_iters=args.warmup)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.steps - args.warmup)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, fall], milestones=[args.warmup])

    for step in range(1, args.steps + 1):
        model.train()
        rows = torch.randint(len(train_ids), (args.batch_size,))
        loss = letter_loss(model(train_ids[rows]), train_target[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 100 == 0:
            val_loss, right = evaluate(model, val_ids, val_target)
            print(f"{step:5d}  train {loss.item():.4f}  val {val_loss:.4f}  letters right {right:.4f}")
    print(f"letters right {evaluate(model, val_ids, val_target)[1]:.4f}")


if __name__ == "__main__":
    main()
