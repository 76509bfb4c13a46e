"""Tell the arms of a noisy galaxy apart. The activation has its own backward, to keep less in memory."""

import math
import sys

import torch
from torch import nn

ARMS = 4


class SwishFunction(torch.autograd.Function):
    """x * sigmoid(x); only x is kept for the way back."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return grad_output * gate * (1 + x * (1 - gate))


class Swish(nn.Module):
    def forward(self, x):
        return SwishFunction.apply(x)


def galaxy(n):
    arm = torch.randint(0, ARMS, (n,))
    along = 0.15 + 0.85 * torch.rand(n).sqrt()
    angle = 2 * math.pi * arm / ARMS + 4.0 * along + 0.2 * torch.randn(n)
    stars = torch.stack([along * angle.cos(), along * angle.sin()], dim=1) * 1.8
    return stars, arm


class ArmNet(nn.Module):
    def __init__(self, width=32, depth=6):
        super().__init__()
        widths = [2] + [width] * depth
        self.hidden = nn.ModuleList([nn.Linear(a, b) for a, b in zip(widths, widths[1:])])
        self.act = Swish()
        self.out = nn.Linear(width, ARMS)
        for layer in self.hidden:
            nn.init.normal_(layer.weight, std=1.5 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        for layer in self.hidden:
            x = self.act(layer(x))
        return self.out(x)


class Observatory:
    def __init__(self, n_fit=3200, n_check=800, batch=64, rate=0.02):
        self.fit_stars, self.fit_arms = galaxy(n_fit)
        self.check = galaxy(n_check)
        self.final = galaxy(n_check)
        self.batch = batch
        self.net = ArmNet()
        self.opt = torch.optim.SGD(self.net.parameters(), lr=rate, momentum=0.9, nesterov=True)
        self.loss = nn.CrossEntropyLoss()

    def night(self):
        self.net.train()
        for rows in torch.randperm(len(self.fit_stars)).split(self.batch):
            loss = self.loss(self.net(self.fit_stars[rows]), self.fit_arms[rows])
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()

    def right(self, stars, arms):
        self.net.eval()
        with torch.no_grad():
            return (self.net(stars).argmax(1) == arms).float().mean().item()


def main(nights):
    torch.manual_seed(19)
    place = Observatory()
    for night in range(nights):
        place.night()
        if night % 2:
            print("night", night, "right of the check stars:", round(place.right(*place.check), 4))
    print("right of the final stars:", round(place.right(*place.final), 4))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 14)
