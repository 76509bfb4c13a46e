"""Half a day of tides foretold from four days: patches of the record are the tokens of a small Transformer."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PAST, AHEAD, PATCH = 96, 12, 8  # hours


def gauge(rng, hours):
    """Height in millimetres: two tides of its own strength, a slow surge, and noise."""
    t = np.arange(hours)
    tides = sum(
        rng.uniform(400, 1200) * np.sin(2 * np.pi * t / period + rng.uniform(0, 2 * np.pi)) for period in (12.42, 25.82)
    )
    surge = np.zeros(hours)
    for i in range(1, hours):
        surge[i] = 0.97 * surge[i - 1] + rng.normal(0, 30)
    return 5000 + tides + surge + rng.normal(0, 25, hours)


def windows(series, every):
    starts = range(0, len(series) - PAST - AHEAD + 1, every)
    return np.stack([series[s : s + PAST + AHEAD] for s in starts])


def gauges(count, rng, every=6):
    return np.concatenate([windows(gauge(rng, 500), every) for _ in range(count)])


class PatchTransformer(nn.Module):
    def __init__(self, d_model=48, heads=4, depth=2):
        super().__init__()
        n_patches = PAST // PATCH
        self.embed = nn.Linear(PATCH, d_model)
        self.position = nn.Parameter(0.02 * torch.randn(n_patches, d_model))
        layer = nn.TransformerEncoderLayer(
            d_model, heads, dim_feedforward=96, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(d_model), enable_nested_tensor=False)
        self.head = nn.Linear(n_patches * d_model, AHEAD)

    def forward(self, past):
        tokens = self.embed(past.unflatten(1, (-1, PATCH))) + self.position
        return self.head(self.encoder(tokens).flatten(1))


class Warmup:
    """The rate rises over the first steps, then falls as a half cosine until the last one."""

    def __init__(self, rise, total):
        self.rise, self.total = rise, total

    def __call__(self, step):
        if step < self.rise:
            return (step + 1) / self.rise
        fallen = min(1.0, (step - self.rise) / (self.total - self.rise))
        return 0.5 * (1 + np.cos(np.pi * fallen))


def split(rows, mean, std):
    rows = torch.tensor((rows - mean) / std, dtype=torch.float32)
    return TensorDataset(rows[:, :PAST], rows[:, PAST:])


@torch.no_grad()
def rmse_in_cm(net, loader, std):
    net.eval()
    squares = [((net(past) - future) * std / 10).pow(2) for past, future in loader]
    return torch.cat(squares).mean().sqrt().item()


def main(epochs=7, rise_epochs=1, batch_size=50, lr=2e-3):
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    train_rows, test_rows = gauges(40, rng), gauges(15, rng)
    mean, std = train_rows.mean(), train_rows.std()
    train_set, test_set = split(train_rows, mean, std), split(test_rows, mean, std)
    train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=300)

    net = PatchTransformer()
    criterion = nn.MSELoss()
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.01)
    steps = len(train_loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, Warmup(rise_epochs * steps, epochs * steps))
    for epoch in range(epochs):
        net.train()
        for past, future in train_loader:
            loss = criterion(net(past), future)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch}: gauges never seen, root mean square error {rmse_in_cm(net, test_loader, std):.3f} cm")


if __name__ == "__main__":
    main()
