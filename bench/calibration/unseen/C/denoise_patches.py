"""Takes the noise from little pictures: a residual network in the manner of DnCNN, trained on fresh noise each time."""

import numpy as np
import torch
import torch.nn as nn

SIGMA = 0.25
MICRO = 16
ACCUMULATE = 2


class SwishFunction(torch.autograd.Function):
    """x * sigmoid(x) that keeps nothing but x for the way back."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad_output * (s * (1 + x * (1 - s)))


class Swish(nn.Module):
    def forward(self, x):
        return SwishFunction.apply(x)


def make_pictures(n, seed, side=16):
    rng = np.random.default_rng(seed)
    out = np.zeros((n, 1, side, side), np.float32)
    for picture in out[:, 0]:
        for _ in range(4):
            top, left = rng.integers(0, side - 4, 2)
            height, width = rng.integers(3, side, 2)
            picture[top : top + height, left : left + width] = rng.uniform(-1, 1)
    return torch.from_numpy(out)


class Denoiser(nn.Module):
    """Tells the noise in a picture; what is left without it is the answer."""

    def __init__(self, width=20):
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.third = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 1, 3, padding=1)
        self.act = Swish()

    def forward(self, x):
        h = self.act(self.first(x))
        h = h + self.act(self.second(h))
        h = h + self.act(self.third(h))
        return self.last(h)


def validate(model, clean, noisy):
    model.eval()
    with torch.no_grad():
        restored = noisy - model(noisy)
    return nn.functional.mse_loss(restored, clean).item()


def train_epoch(model, optimizer, pictures):
    model.train()
    optimizer.zero_grad()
    total, batches = 0.0, torch.randperm(len(pictures)).split(MICRO)
    for i, chosen in enumerate(batches):
        clean = pictures[chosen]
        noisy = clean + SIGMA * torch.randn_like(clean)
        loss = nn.functional.mse_loss(model(noisy), noisy - clean)
        (loss / ACCUMULATE).backward()
        if (i + 1) % ACCUMULATE == 0:
            optimizer.step()
            optimizer.zero_grad()
        total += loss.item()
    return total / len(batches)


def main():
    torch.manual_seed(12)
    pictures, held_out = make_pictures(512, 1), make_pictures(150, 2)
    noisy_held_out = held_out + SIGMA * torch.randn(held_out.shape, generator=torch.Generator().manual_seed(0))
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    print(f"untouched: {nn.functional.mse_loss(noisy_held_out, held_out).item():.5f}")
    for epoch in range(12):
        loss = train_epoch(model, optimizer, pictures)
        print(f"epoch {epoch}: train {loss:.5f} restored {validate(model, held_out, noisy_held_out):.5f}")


main()
