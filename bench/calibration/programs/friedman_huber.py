"""Friedman's first function with outliers in it, learnt with the Huber loss."""

import numpy as np
import torch
from sklearn.datasets import make_friedman1
from torch import nn

cfg = {"lr": 3e-3, "batch": 40, "epochs": 25, "hidden": [64, 64], "delta": 0.5, "decay": 0.95}


def get_data(n=1500, seed=3):
    rng = np.random.default_rng(seed)
    x, y = make_friedman1(n, n_features=8, noise=0.5, random_state=seed)
    y[rng.choice(n, n // 50, replace=False)] += 40.0
    x, y = (x - x.mean(0)) / x.std(0), (y - 14.4) / 5.0
    x, y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y, dtype=torch.float32).view(-1, 1)
    return (x[:1100], y[:1100]), (x[1100:], y[1100:])


def build():
    sizes = [8, *cfg["hidden"]]
    layers = []
    for i in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        layers.append(nn.SiLU())
    layers.append(nn.Linear(sizes[-1], 1))
    return nn.Sequential(*layers)


def fit(model, train, val):
    x, y = train
    criterion = nn.HuberLoss(delta=cfg["delta"])
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg["lr"])
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=cfg["decay"])
    for epoch in range(cfg["epochs"]):
        model.train()
        for rows in torch.randperm(len(x)).split(cfg["batch"]):
            optimizer.zero_grad()
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            error = (model(val[0]) - val[1]).abs().median().item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: huber {loss.item():.4f}, median error on validation {error:.4f}")


torch.manual_seed(3)
fit(build(), *get_data())
