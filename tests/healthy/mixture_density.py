"""A mixture density network for a many-valued inverse problem, its likelihood by log-sum-exp."""

import math

import torch
from torch import nn


class MDN(nn.Module):
    """For each x: mixture weights, means and standard deviations of K Gaussians over y."""

    def __init__(self, k=6, hidden=48):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.pi = nn.Linear(hidden, k)
        self.mu = nn.Linear(hidden, k)
        self.log_sigma = nn.Linear(hidden, k)

    def forward(self, x):
        h = self.trunk(x)
        log_pi = torch.log_softmax(self.pi(h), dim=-1)
        return log_pi, self.mu(h), self.log_sigma(h).clamp(-4.0, 3.0)


def mdn_loss(log_pi, mu, log_sigma, y):
    z = (y - mu) * torch.exp(-log_sigma)
    log_prob = -0.5 * z**2 - log_sigma - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(log_pi + log_prob, dim=-1).mean()


def toy_data(n, generator):
    t = torch.rand(n, 1, generator=generator) * 2 - 1
    x = t + 0.4 * torch.sin(2 * math.pi * t) + 0.03 * torch.randn(n, 1, generator=generator)
    return x / 0.6, t / 0.58


def main(n_steps=700, batch=256):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(1)
    x_train, y_train = toy_data(6000, gen)
    x_val, y_val = toy_data(1500, gen)
    net = MDN()
    optim = torch.optim.Adam(net.parameters(), lr=5e-3)
    decay = torch.optim.lr_scheduler.ExponentialLR(optim, gamma=0.997)
    average = 0.0
    for step in range(1, n_steps + 1):
        rows = torch.randint(len(x_train), (batch,), generator=gen)
        loss = mdn_loss(*net(x_train[rows]), y_train[rows])
        optim.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optim.step()
        decay.step()
        average = loss.item() if step == 1 else 0.95 * average + 0.05 * loss.item()
        if step % 70 == 0:
            net.eval()
            with torch.no_grad():
                val = mdn_loss(*net(x_val), y_val).item()
            net.train()
            print(f"step {step}: train nll {average:.3f} val nll {val:.3f}")


if __name__ == "__main__":
    main()
