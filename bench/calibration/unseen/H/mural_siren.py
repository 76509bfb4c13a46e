"""A mural as a function: a network with sines learns the grey value at any place, from two thirds of the pixels.

The pixels held out tell whether it has learned the picture or only the pixels.
"""

import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

OMEGA = 15.0


def mural(side):
    """Places (side^2, 2) in [-1, 1] and grey values (side^2, 1) in about [-1, 1]."""
    line = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(line, line, indexing="ij")
    r = (x**2 + y**2).sqrt()
    sky = 0.5 * torch.sin(5 * x + 2 * y) * torch.cos(4 * y)
    sun = torch.sigmoid(12 * (0.35 - ((x - 0.3) ** 2 + (y + 0.3) ** 2).sqrt()))
    waves = 0.4 * torch.sin(14 * r) * torch.sigmoid(6 * (y - 0.1))
    return torch.stack([x, y], -1).reshape(-1, 2), (sky + sun + waves - 0.2).reshape(-1, 1)


class Sine(nn.Module):
    """sin(omega (W x + b)), with the start of Sitzmann et al."""

    def __init__(self, fan_in, fan_out, first=False):
        super().__init__()
        self.linear = nn.Linear(fan_in, fan_out)
        bound = 1 / fan_in if first else math.sqrt(6 / fan_in) / OMEGA
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x):
        return torch.sin(OMEGA * self.linear(x))


class Siren(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.first = Sine(2, width, first=True)
        self.others = nn.ModuleList([Sine(width, width) for _ in range(depth)])
        self.last = nn.Linear(width, 1)
        bound = math.sqrt(6 / width) / OMEGA
        nn.init.uniform_(self.last.weight, -bound, bound)

    def forward(self, place):
        h = self.first(place)
        for sine in self.others:
            h = sine(h)
        return self.last(h)


class Painter:
    def __init__(self, net, train_set, val_set, *, lr, epochs, batch_size):
        self.net = net
        self.loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
        self.val_loader = DataLoader(val_set, batch_size=512)
        self.criterion = nn.MSELoss()
        self.opt = torch.optim.Adam(net.parameters(), lr=lr)
        self.sched = torch.optim.lr_scheduler.CosineAnnealingLR(self.opt, epochs)
        self.epochs = epochs

    def one_epoch(self):
        self.net.train()
        total = 0.0
        for place, grey in self.loader:
            self.opt.zero_grad()
            loss = self.criterion(self.net(place), grey)
            loss.backward()
            self.opt.step()
            total += loss.item() * len(place)
        self.sched.step()
        return total / len(self.loader.dataset)

    def error(self, loader):
        self.net.eval()
        with torch.no_grad():
            squares = [(self.net(place) - grey).pow(2).sum() for place, grey in loader]
        return (sum(squares) / len(loader.dataset)).item()

    def paint(self):
        for epoch in range(1, self.epochs + 1):
            loss = self.one_epoch()
            if epoch % 4 == 0:
                print(f"epoch {epoch:3d} train {loss:.5f} val {self.error(self.val_loader):.5f}")


if __name__ == "__main__":
    torch.manual_seed(9)
    places, greys = mural(64)
    pixels = TensorDataset(places, greys)
    train_set, val_set, test_set = random_split(pixels, [2736, 400, 960])
    painter = Painter(Siren(48, 2), train_set, val_set, lr=1e-3, epochs=16, batch_size=128)
    painter.paint()
    rmse = painter.error(DataLoader(test_set, batch_size=512)) ** 0.5
    print(f"root mean squared error, pixels held out: {rmse:.4f}")
