"""What will be played next? Self-attention over the tracks of a session, in the manner of SASRec, with the Noam schedule."""

import argparse

import numpy as np
import torch
from torch import nn

N_TRACKS = 36


def sessions(n, length, rng):
    """Listeners stay in an album, go on in its order, or jump to the album that goes with the one before."""
    album_of = np.arange(N_TRACKS) // 6
    out = np.empty((n, length), dtype=np.int64)
    for row in out:
        row[:2] = rng.integers(N_TRACKS, size=2)
        for t in range(2, length):
            luck = rng.random()
            if luck < 0.6:  # the next of the album
                row[t] = album_of[row[t - 1]] * 6 + (row[t - 1] + 1) % 6
            elif luck < 0.95:  # the same place in the album after the one of the track before the last
                row[t] = (album_of[row[t - 2]] + 1) % 6 * 6 + row[t - 1] % 6
            else:
                row[t] = rng.integers(N_TRACKS)
    return torch.from_numpy(out)


class CausalAttention(nn.Module):
    def __init__(self, dim, heads, length):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        allowed = torch.tril(torch.ones(length, length, dtype=torch.bool))
        self.register_buffer("allowed", allowed)

    def split(self, x):
        b, t, d = x.shape
        return x.view(b, t, self.heads, d // self.heads).transpose(1, 2)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        scores = q @ k.transpose(-1, -2) / (d // self.heads) ** 0.5
        scores = scores.masked_fill(~self.allowed[:t, :t], float("-inf"))
        weights = torch.softmax(scores, dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(b, t, d))


class Layer(nn.Module):
    def __init__(self, dim, heads, length, dropout):
        super().__init__()
        self.attention = CausalAttention(dim, heads, length)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class NextTrack(nn.Module):
    def __init__(self, dim, heads, depth, length, dropout):
        super().__init__()
        self.track = nn.Embedding(N_TRACKS, dim)
        self.place = nn.Embedding(length, dim)
        self.layers = nn.Sequential(*[Layer(dim, heads, length, dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)

    def forward(self, history):
        x = self.track(history) + self.place(torch.arange(history.size(1)))
        return self.norm(self.layers(x)) @ self.track.weight.t()  # tied


def noam(dim, warmup, factor):
    def rate(step):
        step = step + 1
        return factor * dim**-0.5 * min(step**-0.5, step * warmup**-1.5)

    return rate


@torch.no_grad()
def hit_rate(model, tracks):
    """How often the last track of a session is the first guess after all the others."""
    model.eval()
    guess = model(tracks[:, :-1])[:, -1].argmax(1)
    model.train()
    return (guess == tracks[:, -1]).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--warmup", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    length = 14
    train = sessions(3000, length, rng)
    held_out = sessions(800, 10, rng)  # of listeners who have only just begun
    model = NextTrack(args.dim, args.heads, args.layers, length, args.dropout)
    nn.init.normal_(model.track.weight, std=args.dim**-0.5)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, noam(args.dim, args.warmup, factor=0.4))

    for epoch in range(args.epochs):
        total = 0.0
        for batch in train[torch.randperm(len(train))].split(32):
            inputs, targets = batch[:, :-1], batch[:, 1:]
            logits = model(inputs)
            loss = loss_fn(logits.reshape(-1, N_TRACKS), targets.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch} loss {total / len(train):.4f} hit rate {hit_rate(model, held_out):.4f}")


if __name__ == "__main__":
    main()
