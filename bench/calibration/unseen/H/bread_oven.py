"""Energy that a bread oven will use in the next hour. The network has eight-level activations (it is to run on a cheap
controller), so their gradient is written by hand: straight through, inside the range."""

import torch
from sklearn.datasets import make_friedman1
from sklearn.model_selection import train_test_split
from torch import nn


class EightLevels(torch.autograd.Function):
    """Rounds to eight levels between 0 and 1; passes the gradient straight through where the input lies between."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x.clamp(0, 1) * 7).round() / 7

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ((x >= 0) & (x <= 1))


class Levels(nn.Module):
    def forward(self, x):
        return EightLevels.apply(0.5 + 0.25 * x)


def make_net(n_in, width=96):
    return nn.Sequential(nn.Linear(n_in, width), Levels(), nn.Linear(width, width), Levels(), nn.Linear(width, 1))


class Standard:
    """Mean and deviation of each column."""

    def __init__(self, rows):
        self.mean, self.std = rows.mean(0), rows.std(0)

    def __call__(self, rows):
        return (rows - self.mean) / self.std

    def back(self, rows):
        return rows * self.std + self.mean


def batches(*tensors, size):
    order = torch.randperm(len(tensors[0]))
    for rows in order.split(size):
        yield tuple(t[rows] for t in tensors)


def rmse(net, x, y, scale):
    net.eval()
    with torch.no_grad():
        return (scale.back(net(x)) - y).square().mean().sqrt().item()


def fit(net, x, y, x_val, y_val, epochs, lr, size):
    """Mean squared error on standardised energies; prints the error in kilowatt hours."""
    scale = Standard(y)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.4)
    for epoch in range(epochs):
        net.train()
        for xb, yb in batches(x, scale(y), size=size):
            loss = nn.functional.mse_loss(net(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}, validation error {rmse(net, x_val, y_val, scale):.4f} kWh")
    return rmse(net, x_val, y_val, scale)


if __name__ == "__main__":
    torch.manual_seed(12)
    readings, energy = make_friedman1(n_samples=5000, n_features=8, noise=1.0, random_state=2)
    readings[:, 0] = 180 + 80 * readings[:, 0]  # temperature of the oven
    readings[:, 3] = 400 * readings[:, 3]  # grams of dough in a loaf
    train, val, y_train, y_val = train_test_split(readings, energy, test_size=0.25, random_state=3)
    train, val, y_train, y_val = (torch.as_tensor(a, dtype=torch.float32) for a in (train, val, y_train, y_val))
    y_train, y_val = y_train[:, None], y_val[:, None]
    normal = Standard(train)
    net = make_net(train.shape[1])
    error = fit(net, normal(train), y_train, normal(val), y_val, epochs=30, lr=4e-3, size=64)
    print(f"validation error {error:.4f}")
