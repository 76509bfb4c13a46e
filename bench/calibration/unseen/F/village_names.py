"""Invents names of villages, letter by letter: a GRU language model with SGD; its loss leaves the padding out."""

import argparse
import random

import torch
import torch.nn.functional as F
from torch import nn

PAD, START, END = 0, 1, 2
LETTERS = {c: i + 3 for i, c in enumerate("abcdefghijklmnopqrstuvwxyz -")}

FIRST = ["great", "little", "upper", "nether", "old", "saint"]
STEM = ["oak", "ash", "wool", "stan", "brad", "ched", "marl", "thorn", "win", "hather", "aller", "whit"]
END_OF_STEM = ["ton", "ham", "ford", "ley", "wick", "by", "combe", "worth", "minster"]
RIVER = ["avon", "stour", "wye", "tees", "trent", "severn"]


def village(rng):
    """`great oakham`, `woolwick-on-avon`; those on the great rivers are never little."""
    name = rng.choice(STEM) + rng.choice(END_OF_STEM)
    by_river = rng.random() < 0.35
    if by_river:
        name += "-on-" + rng.choice(RIVER)
    if rng.random() < 0.4:
        name = rng.choice([f for f in FIRST if not (by_river and f == "little")]) + " " + name
    return name


def encode(names):
    rows = [[START, *(LETTERS[c] for c in name), END] for name in names]
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


class NameModel(nn.Module):
    def __init__(self, n_symbols, emb, hidden):
        super().__init__()
        self.embedding = nn.Embedding(n_symbols, emb, padding_idx=PAD)
        self.gru = nn.GRU(emb, hidden, batch_first=True)
        self.to_symbol = nn.Linear(hidden, n_symbols)

    def forward(self, symbols):
        states, _ = self.gru(self.embedding(symbols))
        return self.to_symbol(states)


def letter_losses(model, batch):
    """Of every position, and which of them are no padding."""
    inputs, targets = batch[:, :-1], batch[:, 1:]
    losses = F.cross_entropy(model(inputs).transpose(1, 2), targets, reduction="none")
    return losses, targets != PAD


def validate(model, names):
    model.eval()
    with torch.no_grad():
        losses, real = letter_losses(model, names)
    return losses[real].mean().item()


def train(model, names, args, optimizer):
    model.train()
    for rows in torch.randperm(len(names)).split(args.batch):
        losses, real = letter_losses(model, names[rows])
        loss = losses[real].mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), args.max_norm)
        optimizer.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--max-norm", type=float, default=5.0)
    args = parser.parse_args()

    torch.manual_seed(12)
    rng = random.Random(12)
    everything = list(dict.fromkeys(village(rng) for _ in range(2600)))
    held_out, known = encode(everything[:300]), encode(everything[300:])
    model = NameModel(len(LETTERS) + 3, 24, args.hidden)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    for epoch in range(args.epochs):
        train(model, known, args, optimizer)
        scheduler.step()
        print(f"epoch {epoch + 1}: held-out loss {validate(model, held_out):.4f} per letter")


if __name__ == "__main__":
    main()
