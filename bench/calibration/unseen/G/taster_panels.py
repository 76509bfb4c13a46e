"""Predict how a panel of tasters will split over six verdicts, from what the laboratory measured of a cheese."""

import numpy as np
import torch
from torch import nn

VERDICTS, MEASURED, TASTERS = 6, 12, 40


def cheeses(n, taste, rng):
    """Measurements, and the shares of the verdicts that forty tasters gave."""
    x = rng.standard_normal((n, MEASURED))
    first, second = taste
    odds = np.tanh(x @ first) @ second
    chance = np.exp(odds) / np.exp(odds).sum(1, keepdims=True)
    votes = np.stack([rng.multinomial(TASTERS, p) for p in chance]) / TASTERS
    return torch.tensor(x, dtype=torch.float32), torch.tensor(votes, dtype=torch.float32)


class Panel(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.enter = nn.Linear(MEASURED, hidden)
        self.between = nn.Linear(hidden, hidden)
        self.leave = nn.Linear(hidden, VERDICTS)
        for layer in (self.enter, self.between):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        x = torch.relu(self.enter(x))
        x = torch.relu(self.between(x))
        return torch.log_softmax(self.leave(x), dim=1)


def excess_nats(panel, x, shares):
    """The mean divergence of the predicted split from the one observed."""
    panel.eval()
    with torch.no_grad():
        expected = panel(x)
    return (torch.special.xlogy(shares, shares) - shares * expected).sum(1).mean().item()


def make_epoch(panel, optimizer, divergence, x, shares, batch):
    def epoch():
        panel.train()
        total = 0.0
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            loss = divergence(panel(x[rows]), shares[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        return total / len(x)

    return epoch


def main():
    torch.manual_seed(31)
    rng = np.random.default_rng(31)
    taste = rng.normal(0, 0.5, (MEASURED, 10)), rng.normal(0, 0.7, (10, VERDICTS))
    train, val, test = (cheeses(n, taste, rng) for n in (4000, 500, 600))

    panel = Panel()
    optimizer = torch.optim.SGD(panel.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[8, 11], gamma=0.3)
    epoch = make_epoch(panel, optimizer, nn.KLDivLoss(reduction="batchmean"), *train, batch=50)
    for number in range(13):
        loss = epoch()
        scheduler.step()
        if number % 3 == 0:
            print(f"{number:2d}: divergence {loss:.4f}, of the validation panels {excess_nats(panel, *val):.4f}")
    print(f"divergence of the test panels {excess_nats(panel, *test):.5f}")


if __name__ == "__main__":
    main()
