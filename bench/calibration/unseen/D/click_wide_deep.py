"""Wide and deep: will a reader click on an advertisement? A table of crossed columns beside a small perceptron.

The log has three periods: from the first the click rates of the past are counted, the second is trained on, the third judged.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.preprocessing import StandardScaler

SITES, ADS = 25, 30


@dataclass
class Settings:
    embedding: int = 6
    hidden: int = 48
    wide_lr: float = 0.05
    deep_lr: float = 3e-3
    batch: int = 100
    epochs: int = 6
    seed: int = 4


@dataclass
class Log:
    site: np.ndarray
    ad: np.ndarray
    numeric: np.ndarray
    clicked: np.ndarray


def simulate(rng, sizes):
    taste = 1.5 * rng.normal(size=(SITES, ADS))
    site_effect, ad_effect = rng.normal(size=SITES), rng.normal(size=ADS)
    for n in sizes:
        site, ad = rng.integers(SITES, size=n), rng.integers(ADS, size=n)
        z = rng.normal(size=(n, 4))
        score = taste[site, ad] + site_effect[site] + ad_effect[ad] + 2.0 * np.sin(2 * z[:, 0]) + 1.5 * z[:, 1] * z[:, 2] - 0.5
        clicked = rng.random(n) < 1 / (1 + np.exp(-2 * score))
        numeric = z * [12.0, 3.0, 250.0, 0.5] + [45.0, 20.0, 1200.0, 2.0]  # age, hour-ish, income, visits
        yield Log(site, ad, numeric, clicked.astype(np.float32))


def past_rates(log):
    """The smoothed click rate of each site with each advertisement."""
    pair = log.site * ADS + log.ad
    shown = np.bincount(pair, minlength=SITES * ADS)
    clicks = np.bincount(pair, weights=log.clicked, minlength=SITES * ADS)
    return (clicks + log.clicked.mean()) / (shown + 1)


class Table:
    """The columns of a log as tensors."""

    def __init__(self, log, rates, scaler):
        pair = log.site * ADS + log.ad
        self.site, self.ad, self.pair = (torch.as_tensor(c) for c in (log.site, log.ad, pair))
        numeric = np.column_stack([scaler.transform(log.numeric), rates[pair] - rates.mean()])
        self.numeric = torch.tensor(numeric, dtype=torch.float32)
        self.clicked = torch.tensor(log.clicked)

    def __len__(self):
        return len(self.clicked)

    def rows(self, index):
        return (self.site[index], self.ad[index], self.pair[index], self.numeric[index]), self.clicked[index]


class WideAndDeep(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.wide = nn.Embedding(SITES * ADS, 1)
        nn.init.zeros_(self.wide.weight)
        self.site_table = nn.Embedding(SITES, cfg.embedding)
        self.ad_table = nn.Embedding(ADS, cfg.embedding)
        self.deep = nn.Sequential(
            nn.Linear(2 * cfg.embedding + 5, cfg.hidden),
            nn.ReLU(),
            nn.Linear(cfg.hidden, cfg.hidden),
            nn.ReLU(),
            nn.Linear(cfg.hidden, 1),
        )

    def forward(self, site, ad, pair, numeric):
        h = torch.cat([self.site_table(site), self.ad_table(ad), numeric], dim=1)
        return (self.wide(pair) + self.deep(h)).squeeze(1)


def logistic_loss(logit, clicked):
    return (F.softplus(logit) - clicked * logit).mean()


def run(cfg):
    torch.manual_seed(cfg.seed)
    past, present, later = simulate(np.random.default_rng(cfg.seed), (12000, 5000, 2000))
    rates = past_rates(past)
    scaler = StandardScaler().fit(present.numeric)
    train, test = Table(present, rates, scaler), Table(later, rates, scaler)

    model = WideAndDeep(cfg)
    named = list(model.named_parameters())
    wide = [p for name, p in named if name.startswith("wide")]
    deep = [p for name, p in named if not name.startswith("wide")]
    optimizers = [torch.optim.Adagrad(wide, lr=cfg.wide_lr), torch.optim.AdamW(deep, lr=cfg.deep_lr, weight_decay=0.05)]

    for epoch in range(cfg.epochs):
        for index in torch.randperm(len(train)).split(cfg.batch):
            columns, clicked = train.rows(index)
            loss = logistic_loss(model(*columns), clicked)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
        with torch.no_grad():
            columns, clicked = test.rows(torch.arange(len(test)))
            judged = logistic_loss(model(*columns), clicked).item()
        print(f"epoch {epoch + 1}: batch {loss.item():.4f}, log loss of the last period {judged:.4f}")


run(Settings())
