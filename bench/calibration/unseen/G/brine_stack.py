"""Which of five wells does a brine come from? Twelve ReLU layers on ion readings, started as He et al. advise."""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(3)

IONS, WELLS, WIDTH, DEPTH, PARTS = 10, 5, 48, 12, 4


def draw_samples(n, mixing, centres):
    """Every well is a region around its centre in the plane of (depth, age); readings are bent images of that plane."""
    place = torch.rand(n, 2) * 2 - 1
    well = torch.cdist(place, centres).argmin(dim=1)
    readings = torch.sin(place @ mixing) + 0.03 * torch.randn(n, IONS)
    return readings, well


def he_start(layer):
    fan_in = layer.weight.shape[1]
    std = math.sqrt(2.0 / fan_in)
    nn.init.normal_(layer.weight, 0.0, std)
    nn.init.zeros_(layer.bias)


class BrineNet(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = [IONS] + [WIDTH] * DEPTH
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:]))
        self.last = nn.Linear(WIDTH, WELLS)
        for layer in self.hidden:
            he_start(layer)

    def forward(self, x):
        for layer in self.hidden:
            x = layer(x).relu()
        return F.log_softmax(self.last(x), dim=-1)


mixing = torch.randn(2, IONS) * 1.5
centres = torch.tensor([[0.0, 0.0], [0.7, 0.6], [-0.6, 0.7], [-0.7, -0.6], [0.6, -0.7]])
x_train, y_train = draw_samples(4096, mixing, centres)
x_test, y_test = draw_samples(1500, mixing, centres)
mu, sd = x_train.mean(0), x_train.std(0)
x_train, x_test = (x_train - mu) / sd, (x_test - mu) / sd

net = BrineNet()
opt = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
annealing = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=15)

for epoch in range(15):
    net.train()
    running = 0.0
    for rows in torch.randperm(len(x_train)).split(128):
        opt.zero_grad()
        for part in rows.chunk(PARTS):  # a step is made of four parts, as if memory were short
            loss = F.nll_loss(net(x_train[part]), y_train[part])
            (loss / PARTS).backward()
            running += loss.item() * len(part)
        opt.step()
    annealing.step()
    if epoch % 3 == 2:
        net.eval()
        with torch.no_grad():
            log_probs = net(x_test)
        right = (log_probs.argmax(1) == y_test).float().mean().item()
        print(f"epoch {epoch + 1:2d}  train {running / len(x_train):.4f}  "
              f"test loss {F.nll_loss(log_probs, y_test).item():.4f}  accuracy {right:.4f}")

net.eval()
with torch.no_grad():
    print(f"final accuracy {(net(x_test).argmax(1) == y_test).float().mean().item():.4f}")
