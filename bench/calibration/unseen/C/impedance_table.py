"""Impedance of a circuit from its parts (Friedman's second problem): residual blocks, a swish of our own, one-cycle, averaged weights."""

import copy
from dataclasses import dataclass

import torch
from sklearn.datasets import make_friedman2
from sklearn.utils import shuffle
from torch import nn


@dataclass
class Config:
    rows: int = 2400
    held_out: int = 600
    width: int = 48
    blocks: int = 2
    batch: int = 64
    epochs: int = 20
    peak_lr: float = 5e-3
    decay: float = 0.98
    seed: int = 4


class Swish(torch.autograd.Function):
    """x * sigmoid(x), keeping only x for the way back."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * (s + x * s * (1 - s))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, h):
        return h + self.narrow(Swish.apply(self.widen(h)))


class Impedance(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.stem = nn.Linear(4, cfg.width)
        self.blocks = nn.ModuleList([Block(cfg.width) for _ in range(cfg.blocks)])
        self.head = nn.Linear(cfg.width, 1)

    def forward(self, x):
        h = self.stem(x)
        for block in self.blocks:
            h = block(h)
        return self.head(h).squeeze(-1)


class WeightAverage:
    """An exponential moving average of a model's weights, as a model of its own."""

    def __init__(self, model, decay):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for mine, theirs in zip(self.model.parameters(), model.parameters()):
            mine.lerp_(theirs, 1 - self.decay)


def load(cfg):
    x, y = make_friedman2(n_samples=cfg.rows, noise=20.0, random_state=cfg.seed)
    x, y = shuffle(x, y, random_state=cfg.seed)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    cut = cfg.rows - cfg.held_out
    x = (x - x[:cut].mean(0)) / x[:cut].std(0)
    y = (y - y[:cut].mean()) / y[:cut].std()
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def fit(cfg):
    torch.manual_seed(cfg.seed)
    (x_train, y_train), (x_test, y_test) = load(cfg)
    model = Impedance(cfg)
    average = WeightAverage(model, cfg.decay)
    mse = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.peak_lr)
    batches = -(-len(x_train) // cfg.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.peak_lr, total_steps=cfg.epochs * batches)
    for epoch in range(cfg.epochs):
        for rows in torch.randperm(len(x_train)).split(cfg.batch):
            loss = mse(model(x_train[rows]), y_train[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update(model)
        with torch.no_grad():
            error = mse(average.model(x_test), y_test).sqrt().item()
        print(f"epoch {epoch + 1}: last training loss {loss.item():.4f}, held-out relative error {error:.4f}")


if __name__ == "__main__":
    fit(Config())
