# Pressure lost in ventilation ducts, from the inspection table.  A narrow and deep ladder of ReLU layers, started by
# the rule of He et al., plain SGD with momentum; the weights that were best on the validation ducts are kept.
import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

COLUMNS = ["static pressure, Pa", "temperature, K", "air speed, m/s", "diameter, mm", "roughness, um", "bends"]


def inspect(n, rng):
    """The table of n ducts, and the decimal logarithm of the pressure (Pa) that is lost on a metre of each."""
    table = np.stack(
        [
            rng.normal(101_000, 3_000, n),
            rng.uniform(270, 320, n),
            rng.uniform(1, 12, n),
            rng.uniform(80, 500, n),
            rng.uniform(5, 900, n),
            rng.integers(0, 4, n),
        ],
        axis=1,
    ).astype(np.float32)
    pressure, kelvin, speed, diameter, roughness, bends = table.astype(np.float64).T
    density = pressure / (287 * kelvin)
    viscosity = 1.8e-5 * (kelvin / 293) ** 0.7
    reynolds = density * speed * diameter / 1000 / viscosity
    friction = (-1.8 * np.log10((roughness / diameter / 1000 / 3.7) ** 1.11 + 6.9 / reynolds)) ** -2
    lost = (friction / (diameter / 1000) + 0.05 * bends) * density * speed**2 / 2
    return table, np.log10(lost) + rng.normal(0, 0.02, n)


class Ladder(nn.Module):
    def __init__(self, n_in, width, rungs):
        super().__init__()
        sizes = [n_in] + [width] * rungs
        self.rungs = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.top = nn.Linear(width, 1)
        for rung in self.rungs:
            nn.init.kaiming_normal_(rung.weight, nonlinearity="relu")
            nn.init.zeros_(rung.bias)

    def forward(self, x):
        for rung in self.rungs:
            x = F.relu(rung(x))
        return self.top(x)


def evaluate(ladder, x, y):
    ladder.eval()
    with torch.no_grad():
        return F.mse_loss(ladder(x), y).item()


def climb(ladder, x, y, x_val, y_val, epochs, batch, lr):
    """Trains the ladder and leaves it with the weights of its best epoch."""
    sgd = torch.optim.SGD(ladder.parameters(), lr=lr, momentum=0.9)
    decline = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=epochs)
    best, kept = float("inf"), copy.deepcopy(ladder.state_dict())
    for epoch in range(epochs):
        ladder.train()
        shuffled = torch.randperm(len(x))
        for start in range(0, len(x), batch):
            now = shuffled[start : start + batch]
            loss = F.mse_loss(ladder(x[now]), y[now])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        decline.step()
        val = evaluate(ladder, x_val, y_val)
        if val < best:
            best, kept = val, copy.deepcopy(ladder.state_dict())
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: train {evaluate(ladder, x, y):.5f}, val {val:.5f}")
    ladder.load_state_dict(kept)


def main():
    torch.manual_seed(77)
    rng = np.random.default_rng(78)
    (train, lost), (val, lost_val), (test, lost_test) = inspect(5000, rng), inspect(800, rng), inspect(800, rng)
    centre, spread = train.mean(axis=0), train.std(axis=0)
    level, range_ = lost.mean(), lost.std()

    def ready(table, target):
        x = torch.from_numpy((table - centre) / spread).float()
        return x, torch.from_numpy((target - level) / range_).float()[:, None]

    ladder = Ladder(len(COLUMNS), width=32, rungs=10)
    climb(ladder, *ready(train, lost), *ready(val, lost_val), epochs=12, batch=50, lr=0.01)
    print(f"mean squared error of the test ducts, in variances: {evaluate(ladder, *ready(test, lost_test)):.5f}")


if __name__ == "__main__":
    main()
