"""Truncated back-propagation through time: a GRU forecasts a chaotic series and carries its state along.

Each batch continues where the one before stopped, so the loader must not shuffle.
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

STREAMS, CHUNK = 16, 25


def mackey_glass(n, tau=17, seed=0):
    rng = np.random.default_rng(seed)
    x = list(1.2 + 0.05 * rng.standard_normal(tau + 1))
    for _ in range(n + 300):
        x.append(x[-1] + 0.2 * x[-1 - tau] / (1 + x[-1 - tau] ** 10) - 0.1 * x[-1])
    series = np.array(x[-n:], dtype=np.float32)
    return (series - 0.92) / 0.23


class ContiguousChunks(Dataset):
    """Item t holds chunk t of every stream, shaped (streams, chunk, 1)."""

    def __init__(self, series):
        steps = (len(series) - 1) // (STREAMS * CHUNK)
        used = STREAMS * steps * CHUNK
        self.x = torch.from_numpy(series[:used]).view(STREAMS, steps, CHUNK, 1)
        self.y = torch.from_numpy(series[1 : used + 1]).view(STREAMS, steps, CHUNK, 1)

    def __len__(self):
        return self.x.shape[1]

    def __getitem__(self, t):
        return self.x[:, t], self.y[:, t]


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.rnn = nn.GRU(1, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, 1)

    def forward(self, x, state=None):
        h, state = self.rnn(x, state)
        return x + self.readout(h), state


def train_epoch(model, loader, optimizer, loss_fn):
    model.train()
    state, losses = None, []
    for x, y in loader:
        if state is not None:
            state = state.detach()
        pred, state = model(x, state)
        loss = loss_fn(pred, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return np.mean(losses)


def evaluate(model, loader, loss_fn):
    model.eval()
    state, losses = None, []
    with torch.no_grad():
        for x, y in loader:
            pred, state = model(x, state)
            losses.append(loss_fn(pred, y).item())
    return np.mean(losses)


if __name__ == "__main__":
    torch.manual_seed(0)
    train_loader = DataLoader(ContiguousChunks(mackey_glass(12001, seed=0)), batch_size=None, shuffle=False)
    valid_loader = DataLoader(ContiguousChunks(mackey_glass(8001, seed=1)), batch_size=None, shuffle=False)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = nn.MSELoss()
    for epoch in range(1, 13):
        tr = train_epoch(model, train_loader, optimizer, loss_fn)
        va = evaluate(model, valid_loader, loss_fn)
        print(f"epoch {epoch:>2}: train mse {tr:.6f}   valid mse {va:.6f}")
