"""Prices with an uncertainty: three networks, each with a mean and a log-variance, are mixed; scored by negative log-likelihood."""

import math

import torch
import torch.nn as nn


def houses(n, generator):
    """Area, rooms, year, distance, income, noise level, and the price in thousands."""
    u = torch.rand(n, 6, generator=generator)
    area, rooms, year = 40 + 160 * u[:, 0], (1 + 6 * u[:, 1]).floor(), 1900 + 120 * u[:, 2]
    distance, income, noise = 20 * u[:, 3], 20000 + 60000 * u[:, 4], 40 + 40 * u[:, 5]
    price = 1.5 * area + 12 * rooms + 0.004 * (year - 1950) ** 2 + 150 / (1 + distance / 3) + income / 1000
    spread = 4 + 0.15 * area
    price = price + spread * torch.randn(n, generator=generator)
    return torch.stack([area, rooms, year, distance, income, noise], dim=1), price.unsqueeze(1)


class Standardise:
    def __init__(self, t):
        self.mean, self.std = t.mean(0), t.std(0)

    def __call__(self, t):
        return (t - self.mean) / self.std


class Member(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU())
        self.mean = nn.Linear(hidden, 1)
        self.log_var = nn.Linear(hidden, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.mean(h), self.log_var(h).clamp(-7, 5)


def nll(mean, log_var, y):
    return 0.5 * (math.log(2 * math.pi) + log_var + (y - mean) ** 2 * torch.exp(-log_var)).mean()


@torch.no_grad()
def mixture_nll(members, x, y):
    logs = []
    for m in members:
        m.eval()
        mean, log_var = m(x)
        logs.append(torch.distributions.Normal(mean, (0.5 * log_var).exp()).log_prob(y))
    return -(torch.logsumexp(torch.stack(logs), 0) - math.log(len(members))).mean().item()


def main(members=3, hidden=32, rows=2000, epochs=21, lr=3e-3, decay=1e-3, batch=64):
    torch.manual_seed(9)
    g = torch.Generator().manual_seed(9)
    x, y = houses(rows, g)
    x_test, y_test = houses(500, g)
    scale_x, scale_y = Standardise(x), Standardise(y)
    x, x_test = scale_x(x), scale_x(x_test)
    y, y_test = scale_y(y), scale_y(y_test)

    nets = [Member(hidden) for _ in range(members)]
    optims = [torch.optim.AdamW(n.parameters(), lr=lr, weight_decay=decay) for n in nets]
    for epoch in range(epochs):
        running = 0.0
        for net, optim in zip(nets, optims):
            net.train()
            for part in torch.randperm(len(x)).split(batch):
                mean, log_var = net(x[part])
                loss = nll(mean, log_var, y[part])
                optim.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 5.0)
                optim.step()
                running += loss.item() * len(part) / len(x)
        if epoch % 4 == 0:
            print(f"epoch {epoch}: training nll {running / members:.4f}, held-out nll {mixture_nll(nets, x_test, y_test):.4f}")


if __name__ == "__main__":
    main()
