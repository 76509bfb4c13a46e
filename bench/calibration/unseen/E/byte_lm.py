"""A byte-level language model: an LSTM reads made-up markup, whose closing tags have to match the opening ones."""

import argparse
import math
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

TAGS = ["item", "name", "code", "note", "unit", "link"]
WORDS = ["red", "blue", "lamp", "chair", "glass", "iron", "old", "new", "box", "wire"]


def markup(rng, n_lines):
    lines = []
    for _ in range(n_lines):
        tag = rng.choice(TAGS)
        inside = " ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 4)))
        lines.append(f"<{tag}>{inside}</{tag}>\n")
    return torch.tensor(list("".join(lines).encode("ascii")))


def crops(data, batch, length):
    starts = torch.randint(len(data) - length - 1, (batch,))
    rows = torch.stack([data[s : s + length + 1] for s in starts])
    return rows[:, :-1], rows[:, 1:]


class ByteLSTM(nn.Module):
    def __init__(self, dim, hidden, memory):
        super().__init__()
        self.embed = nn.Embedding(128, dim)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 128)
        self.reset(hidden, memory)

    def reset(self, hidden, memory):
        """Chrono initialisation: gates that remember for up to `memory` bytes."""
        reach = torch.log(torch.empty(hidden).uniform_(1, memory - 1))
        nn.init.orthogonal_(self.lstm.weight_hh_l0)
        with torch.no_grad():
            self.lstm.bias_ih_l0.zero_()
            self.lstm.bias_hh_l0.zero_()
            self.lstm.bias_ih_l0[:hidden] = -reach
            self.lstm.bias_ih_l0[hidden : 2 * hidden] = reach

    def forward(self, x):
        h, _ = self.lstm(self.embed(x))
        return self.out(h)


def bits(model, data, length):
    n = (len(data) - 1) // length
    x, y = data[: n * length].view(n, length), data[1 : n * length + 1].view(n, length)
    model.eval()
    with torch.no_grad():
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
    model.train()
    return loss.item() / math.log(2)


def rate(step, warmup, total):
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=260)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--batch", type=int, default=24)
    args = parser.parse_args()

    torch.manual_seed(31)
    train, held_out = markup(random.Random(1), 2500), markup(random.Random(2), 150)
    model = ByteLSTM(dim=24, hidden=80, memory=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, args.warmup, args.steps))
    for step in range(1, args.steps + 1):
        x, y = crops(train, args.batch, args.length)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        scheduler.step()
        if step % 52 == 0:
            print(f"step {step} train loss {loss.item():.4f} held-out bits per byte {bits(model, held_out, args.length):.4f}")


if __name__ == "__main__":
    main()
