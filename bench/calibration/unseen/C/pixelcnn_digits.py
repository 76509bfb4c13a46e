"""Draws digits pixel by pixel: every pixel, black or white, told from those above it and to its left."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader


class MaskedConv2d(nn.Conv2d):
    """'A' sees only what comes before the pixel; 'B' may see the features of the pixel itself too."""

    def __init__(self, kind, c_in, c_out, size):
        super().__init__(c_in, c_out, size, padding=size // 2)
        mask = torch.ones(size, size)
        middle = size // 2
        mask[middle, middle + (kind == "B") :] = 0
        mask[middle + 1 :] = 0
        self.register_buffer("mask", mask[None, None])

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class PixelCNN(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.stem = MaskedConv2d("A", 1, width, 5)
        self.middle = nn.ModuleList([MaskedConv2d("B", width, width, 3) for _ in range(3)])
        self.top = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        h = F.relu(self.stem(x))
        for conv in self.middle:
            h = h + F.relu(conv(h))
        return self.top(h)


def bits_per_pixel(model, loader):
    model.eval()
    nats = count = 0
    with torch.no_grad():
        for x in loader:
            nats += F.binary_cross_entropy_with_logits(model(x), x, reduction="sum").item()
            count += x.numel()
    model.train()
    return nats / count / 0.6931


torch.manual_seed(13)
pixels = torch.tensor(load_digits().images).unsqueeze(1)
pixels = (pixels > 7).float()
pixels = pixels[torch.randperm(len(pixels))]
train_loader = DataLoader(pixels[:1440], batch_size=48, shuffle=True)
val_loader = DataLoader(pixels[1440:], batch_size=119)

model = PixelCNN()
optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[6, 9], gamma=0.3)
for epoch in range(10):
    total = 0.0
    for x in train_loader:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(x), x)
        loss.backward()
        optimizer.step()
        total += loss.item()
    scheduler.step()
    print(f"epoch {epoch:2d} train {total / len(train_loader) / 0.6931:.4f} held out {bits_per_pixel(model, val_loader):.4f}")
