"""An inverse problem has several answers: a mixture density network gives them all."""

import math

import torch
from torch import nn


class MixtureDensity(nn.Module):
    def __init__(self, components=5, hidden=40):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.logits = nn.Linear(hidden, components)
        self.means = nn.Linear(hidden, components)
        self.log_stds = nn.Linear(hidden, components)
        nn.init.uniform_(self.means.bias, -1, 1)

    def forward(self, x):
        h = self.body(x)
        return torch.log_softmax(self.logits(h), dim=1), self.means(h), self.log_stds(h).clamp(-5, 3)


def negative_log_likelihood(out, y):
    log_weights, means, log_stds = out
    z = (y - means) / log_stds.exp()
    log_probs = -0.5 * z**2 - log_stds - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(log_weights + log_probs, dim=1).mean()


def make_data(n):
    y = torch.rand(n, 1)
    x = y + 0.3 * torch.sin(2 * math.pi * y) + 0.04 * torch.randn(n, 1)
    return (x - 0.5) * 3, (y - 0.5) * 3


def main(epochs=40, batch_size=100, lr=1e-2):
    torch.manual_seed(0)
    x_train, y_train = make_data(1500)
    x_val, y_val = make_data(500)
    model = MixtureDensity()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x_train)).split(batch_size):
            optimizer.zero_grad()
            loss = negative_log_likelihood(model(x_train[rows]), y_train[rows])
            loss.backward()
            optimizer.step()
        scheduler.step()
        with torch.no_grad():
            val = negative_log_likelihood(model(x_val), y_val).item()
        if epoch % 8 == 7:
            print(f"epoch {epoch + 1}: nll {loss.item():.4f}, validation nll {val:.4f}")


main()
