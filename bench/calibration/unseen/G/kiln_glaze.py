"""Gloss of a glaze from the firing log, with an uncertainty for each pot: mean and deviation by likelihood."""

import argparse
import math

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.distributions import Normal

COLUMNS = ("peak", "soak", "rise", "silica", "boron", "copper")


def firing_log(n, seed):
    """One row per pot: the six columns, and the gloss that was measured, which scatters more in hot kilns."""
    rng = np.random.default_rng(seed)
    pots = rng.uniform(-1, 1, size=(n, len(COLUMNS)))
    peak, soak, rise, silica, boron, copper = pots.T
    gloss = 2 * np.sin(2 * peak) + soak * silica - 1.5 * boron**2 + 0.8 * np.tanh(3 * copper) + 0.5 * rise
    gloss += 0.1 * np.exp(1.2 * peak) * rng.standard_normal(n)
    raw = pots * [120, 25, 40, 0.1, 0.03, 0.01] + [1180, 60, 150, 0.6, 0.08, 0.02]
    return np.column_stack([raw, gloss])


class GlossNet(nn.Module):
    def __init__(self, n_in, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.mean = nn.Linear(width, 1)
        self.spread = nn.Linear(width, 1)

    def forward(self, x):
        h = self.body(x)
        sigma = nn.functional.softplus(self.spread(h)) + 1e-3
        return self.mean(h).squeeze(-1), sigma.squeeze(-1)


def likelihood_loss(mean, sigma, target):
    var = sigma**2
    return 0.5 * (math.log(2 * math.pi) + torch.log(var) + (target - mean) ** 2 / var).mean()


@torch.no_grad()
def held_out_nll(net, x, y):
    net.eval()
    mean, sigma = net(x)
    return -Normal(mean, sigma).log_prob(y).mean().item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--pots", type=int, default=6000)
    ap.add_argument("--steps", type=int, default=1200)
    ap.add_argument("--batch", type=int, default=128)
    ap.add_argument("--width", type=int, default=64)
    ap.add_argument("--lr", type=float, default=5e-3)
    args = ap.parse_args()
    torch.manual_seed(11)

    log = firing_log(args.pots, seed=5)
    train, test = train_test_split(log, test_size=0.25, random_state=0)
    inputs = slice(0, len(COLUMNS))
    scaler = StandardScaler().fit(train[:, inputs])
    as_tensor = lambda a: torch.as_tensor(a, dtype=torch.float32)
    x_train, y_train = as_tensor(scaler.transform(train[:, inputs])), as_tensor(train[:, -1])
    x_test, y_test = as_tensor(scaler.transform(test[:, inputs])), as_tensor(test[:, -1])

    net = GlossNet(x_train.shape[1], args.width)
    optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
    for step in range(1, args.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * (1 - (step - 1) / args.steps)
        net.train()
        rows = torch.randint(len(x_train), (args.batch,))
        mean, sigma = net(x_train[rows])
        loss = likelihood_loss(mean, sigma, y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 250 == 0:
            print(f"step {step}: batch {loss.item():.4f}, held-out nll {held_out_nll(net, x_test, y_test):.4f}")
    print(f"held-out nll {held_out_nll(net, x_test, y_test):.4f}")


if __name__ == "__main__":
    main()
