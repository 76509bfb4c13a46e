"""Three yields of a reactor from nine readings, each with its own uncertainty: a deep shared trunk and two heads."""

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal
from torch.utils.data import DataLoader, TensorDataset

READINGS, YIELDS, DEPTH, WIDTH = 9, 3, 12, 56


def simulate(n, rng):
    """A table of readings in their units, the yields in the last columns."""
    z = rng.normal(size=(n, READINGS))
    first = np.sin(z[:, 0]) + 0.7 * np.maximum(z[:, 1], z[:, 2])
    second = np.abs(z[:, 3]) - 0.5 * z[:, 0] + np.tanh(2 * z[:, 4])
    third = 0.6 * z[:, 5] ** 2 - z[:, 6] + 0.5 * z[:, 1]
    spread = 0.08 + 0.3 / (1 + np.exp(-2 * z[:, 7]))
    yields = np.stack([first, second, third], axis=1) + spread[:, None] * rng.normal(size=(n, YIELDS))
    units = np.array([12.0, 0.4, 90.0, 3.0, 1.5, 40.0, 7.0, 0.05, 250.0])
    offsets = np.array([350.0, 2.0, 1200.0, 20.0, -9.0, 500.0, 70.0, 1.0, 900.0])
    return np.concatenate([offsets + units * z, 50 + 10 * yields], axis=1).astype("float32")


class Standard:
    def __init__(self, columns):
        self.mean, self.std = columns.mean(axis=0), columns.std(axis=0)

    def __call__(self, columns):
        return torch.from_numpy((columns - self.mean) / self.std)


class YieldNet(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        sizes = [n_in] + [WIDTH] * DEPTH
        self.trunk = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:]))
        self.centre = nn.Linear(WIDTH, n_out)
        self.spread = nn.Linear(WIDTH, n_out)
        self.apply(self.start)

    @staticmethod
    def start(layer):
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        for layer in self.trunk:
            x = torch.relu(layer(x))
        return self.centre(x), nn.functional.softplus(self.spread(x)) + 0.02


def train_one_epoch(net, loader, nll, optimizer, scheduler):
    net.train()
    for x, y in loader:
        centre, sd = net(x)
        loss = nll(centre, y, sd**2)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        scheduler.step()


@torch.no_grad()
def surprise(net, x, y):
    net.eval()
    centre, sd = net(x)
    return -Normal(centre, sd).log_prob(y).mean().item(), (centre - y).square().mean(0).sqrt()


def main():
    torch.manual_seed(8)
    table = simulate(11000, np.random.default_rng(8))
    fit_rows, val_rows = table[:10000], table[10000:]
    scale_x, scale_y = Standard(fit_rows[:, :READINGS]), Standard(fit_rows[:, READINGS:])
    x_fit, y_fit = scale_x(fit_rows[:, :READINGS]), scale_y(fit_rows[:, READINGS:])
    x_val, y_val = scale_x(val_rows[:, :READINGS]), scale_y(val_rows[:, READINGS:])
    loader = DataLoader(TensorDataset(x_fit, y_fit), batch_size=100, shuffle=True)
    net = YieldNet(x_fit.shape[1], y_fit.shape[1])
    epochs = 12
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(loader))
    for epoch in range(epochs):
        train_one_epoch(net, loader, nn.GaussianNLLLoss(), optimizer, scheduler)
        value, errors = surprise(net, x_val, y_val)
        said = ", ".join(f"{e:.3f}" for e in errors.tolist())
        print(f"epoch {epoch}: rms errors {said}; validation negative log likelihood {value:.4f}")


if __name__ == "__main__":
    main()
