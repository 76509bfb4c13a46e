"""Next week's sales of a shop from its last four: a GRU reads, another writes, day by day, knowing when there will be offers."""

import numpy as np
import torch
from torch import nn

PAST, AHEAD, SHOPS, DAYS = 28, 7, 30, 420


def simulate(seed=6):
    rng = np.random.default_rng(seed)
    t = np.arange(DAYS)
    level = rng.uniform(200, 900, size=(SHOPS, 1))
    week = 1 + 0.35 * np.sin(2 * np.pi * (t + rng.integers(7, size=(SHOPS, 1))) / 7)
    season = 1 + 0.2 * np.sin(2 * np.pi * t / 120 + rng.uniform(0, 6, size=(SHOPS, 1)))
    offer = (rng.random((SHOPS, DAYS)) < 0.15).astype(float)
    lift = rng.uniform(0.3, 0.8, size=(SHOPS, 1))
    sales = level * week * season * (1 + lift * offer) * np.exp(rng.normal(0, 0.06, size=(SHOPS, DAYS)))
    return sales, offer


def windows(z, offer, first, last):
    """Every fifth day between first and last as the first day to be forecast."""
    past, known, target = [], [], []
    for d in range(first + PAST, last - AHEAD + 1, 5):
        past.append(np.stack([z[:, d - PAST : d], offer[:, d - PAST : d]], axis=2))
        known.append(offer[:, d : d + AHEAD, None])
        target.append(z[:, d : d + AHEAD])
    return tuple(torch.tensor(np.concatenate(a), dtype=torch.float32) for a in (past, known, target))


class Forecaster(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.encoder = nn.GRU(2, hidden, batch_first=True)
        self.decoder = nn.GRUCell(2, hidden)
        self.to_sales = nn.Linear(hidden, 1)

    def forward(self, past, known):
        _, state = self.encoder(past)
        state, last = state[-1], past[:, -1, :1]
        days = []
        for d in range(AHEAD):
            state = self.decoder(torch.cat([last, known[:, d]], dim=1), state)
            last = self.to_sales(state)
            days.append(last.squeeze(1))
        return torch.stack(days, dim=1)


def fit(model, past, known, target, check, epochs, batch=64, lr=5e-3):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.85)
    criterion = nn.MSELoss()
    for epoch in range(epochs):
        model.train()
        perm = torch.randperm(len(past))
        running = 0.0
        for i in range(0, len(past), batch):
            idx = perm[i : i + batch]
            optimizer.zero_grad()
            loss = criterion(model(past[idx], known[idx]), target[idx])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            running += loss.item() * len(idx)
        scheduler.step()
        print(f"[{epoch + 1}/{epochs}] train {running / len(past):.4f} later weeks {check(model):.4f}")


def run():
    torch.manual_seed(6)
    sales, offer = simulate()
    split = 330
    z = np.log(sales)
    mean, std = z[:, :split].mean(), z[:, :split].std()
    z = (z - mean) / std
    past, known, target = windows(z, offer, 0, split)
    late_past, late_known, late_target = windows(z, offer, split, DAYS)

    def check(model):
        model.eval()
        with torch.no_grad():
            return (model(late_past, late_known) - late_target).square().mean().item()

    print("same as a week before:", round((late_past[:, -7:, 0] - late_target).square().mean().item(), 4))
    model = Forecaster(hidden=40)
    fit(model, past, known, target, check, epochs=12)


if __name__ == "__main__":
    run()
