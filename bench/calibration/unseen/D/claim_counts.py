"""How many claims will a policy bring? Poisson regression with a net, an exponential of its own, and early stopping."""

import copy
import dataclasses

import numpy as np
import torch
from torch import nn


@dataclasses.dataclass
class Options:
    rows: int = 4000
    hidden: int = 24
    lr: float = 5e-3
    weight_decay: float = 1e-4
    batch: int = 100
    max_epochs: int = 25
    patience: int = 5
    seed: int = 23


def portfolio(opt):
    """Age of driver, power of car, price of car, kilometres a year; how long insured; how many claims."""
    rng = np.random.default_rng(opt.seed)
    age = rng.uniform(18, 85, opt.rows)
    power = rng.gamma(6, 18, opt.rows)
    price = rng.lognormal(9.8, 0.4, opt.rows)
    km = rng.gamma(4, 3500, opt.rows)
    exposure = rng.uniform(0.2, 1.0, opt.rows)
    rate = np.exp(0.6 + 1.3 * np.exp(-(age - 18) / 8) + 0.0015 * (age - 50) ** 2 / 2 - 0.4 + 0.8 * np.tanh((power - 110) / 40)) * (km / 14000) ** 0.6
    claims = rng.poisson(np.minimum(rate, 12) * exposure)
    as_tensor = lambda a: torch.tensor(a, dtype=torch.float32)
    return as_tensor(np.stack([age, power, price, km], 1)), as_tensor(exposure), as_tensor(claims)


class BoundedExp(torch.autograd.Function):
    """exp(x) up to x = 4, and straight on from there, so that no odd policy blows up."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        edge = x.clamp(max=4.0).exp()
        return edge * (1 + (x - 4.0).clamp(min=0.0))

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        slope = x.clamp(max=4.0).exp()
        return grad_output * slope


class ClaimRate(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, 1))

    def forward(self, x, exposure):
        return exposure * BoundedExp.apply(self.net(x).squeeze(1))


def poisson_deviance(expected, claims):
    unlikely = torch.where(claims > 0, claims * torch.log(claims.clamp(min=1.0) / expected), torch.zeros_like(claims))
    return 2 * (unlikely - claims + expected).mean()


def train(opt):
    torch.manual_seed(opt.seed)
    x, exposure, claims = portfolio(opt)
    n_train, n_val = opt.rows // 2, opt.rows * 3 // 4
    mean, std = x[:n_train].mean(0), x[:n_train].std(0)
    x = (x - mean) / std
    parts = {
        "train": slice(0, n_train),
        "val": slice(n_train, n_val),
        "test": slice(n_val, None),
    }

    model = ClaimRate(opt.hidden)
    criterion = poisson_deviance
    optimizer = torch.optim.AdamW(model.parameters(), lr=opt.lr, weight_decay=opt.weight_decay)

    def deviance(part):
        model.eval()
        with torch.no_grad():
            return poisson_deviance(model(x[parts[part]], exposure[parts[part]]), claims[parts[part]]).item()

    best, best_state, waited = float("inf"), copy.deepcopy(model.state_dict()), 0
    for epoch in range(opt.max_epochs):
        model.train()
        for rows in torch.randperm(n_train).split(opt.batch):
            loss = criterion(model(x[rows], exposure[rows]), claims[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        val = deviance("val")
        if epoch % 3 == 0:
            print(f"epoch {epoch}: train {deviance('train'):.4f} val {val:.4f}")
        if val < best:
            best, best_state, waited = val, copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
            if waited == opt.patience:
                break
    model.load_state_dict(best_state)
    print(f"test deviance {deviance('test'):.4f}")


train(Options())
