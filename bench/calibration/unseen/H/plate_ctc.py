"""Reads the number plates of barges from one scan line block: columns go in, characters come out, nobody says where.

usage: plate_ctc.py [--epochs N] [--hidden N] ...
"""

import argparse

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

CHARACTERS = "ACEHKLTX"  # index 0 is kept for the blank
HEIGHT = 9
COLUMNS = 36


def font(rng):
    """For every character a pattern four columns wide."""
    return (rng.random((len(CHARACTERS), HEIGHT, 4)) < 0.45).astype(np.float64)


def scan(n, glyphs, rng):
    """Scans (n, COLUMNS, HEIGHT), their texts one after the other, and the length of each text."""
    scans = np.zeros((n, HEIGHT, COLUMNS))
    texts, lengths = [], rng.integers(3, 6, n)
    for picture, length in zip(scans, lengths):
        text = rng.integers(0, len(CHARACTERS), length)
        at = rng.integers(1, 6)
        for character in text:
            picture[:, at : at + 4] = glyphs[character] * rng.uniform(0.7, 1.3)
            at += 4 + rng.integers(1, 3)
        texts.append(text + 1)
    scans += rng.normal(0, 0.25, scans.shape)
    return (
        torch.tensor(scans.transpose(0, 2, 1), dtype=torch.float32),
        [torch.as_tensor(text) for text in texts],
        torch.as_tensor(lengths),
    )


class PlateReader(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.columns = nn.Conv1d(HEIGHT, hidden, 5, padding=2)
        self.rnn = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.characters = nn.Linear(2 * hidden, len(CHARACTERS) + 1)

    def forward(self, scans):
        strokes = F.gelu(self.columns(scans.transpose(1, 2)))
        states, _ = self.rnn(strokes.transpose(1, 2))
        return F.log_softmax(self.characters(states), dim=-1)


def spell(log_probs):
    """Greedy: the likeliest symbol of each column, repeats joined, blanks left out."""
    best = torch.unique_consecutive(log_probs.argmax(-1))
    return best[best > 0]


def share_read(model, scans, texts):
    model.eval()
    with torch.no_grad():
        said = [spell(one) for one in model(scans)]
    return sum(torch.equal(a, b) for a, b in zip(said, texts)) / len(texts)


def train(model, data, val, args):
    scans, texts, lengths = data
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    steps_per_epoch = len(scans) // args.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=args.lr, epochs=args.epochs, steps_per_epoch=steps_per_epoch, pct_start=0.2
    )
    ctc = nn.CTCLoss(blank=0)
    columns = torch.full((args.batch,), COLUMNS)
    for epoch in range(args.epochs):
        model.train()
        order = torch.randperm(len(scans))
        losses = []
        for i in range(steps_per_epoch):
            rows = order[i * args.batch : (i + 1) * args.batch]
            targets = torch.cat([texts[r] for r in rows])
            log_probs = model(scans[rows]).transpose(0, 1)  # time first
            loss = ctc(log_probs, targets, columns, lengths[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        if (epoch + 1) % 2 == 0:
            print(f"epoch {epoch + 1:2d} | loss {np.mean(losses):.4f} | val plates read {share_read(model, val[0], val[1]):.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--lr", type=float, default=8e-3)
    parser.add_argument("--seed", type=int, default=4)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    glyphs = font(rng)
    data, val, test = scan(2000, glyphs, rng), scan(200, glyphs, rng), scan(500, glyphs, rng)
    model = PlateReader(args.hidden)
    train(model, data, val, args)
    print(f"share of the test plates read without an error: {share_read(model, test[0], test[1]):.4f}")


if __name__ == "__main__":
    main()
