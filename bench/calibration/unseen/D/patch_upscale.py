# %% Twice the size: small grey patches are upscaled by a plain, rather deep convolutional network that adds what
# interpolation leaves out. He initialisation as in the VDSR paper, since nothing in it normalises.
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SIDE, DEPTH, WIDTH = 16, 16, 10


def patches(n, rng):
    """Stripes of any direction, with sharp edges, before a slope of grey."""
    yy, xx = np.mgrid[:SIDE, :SIDE] / SIDE
    pictures = np.empty((n, 1, SIDE, SIDE), dtype=np.float32)
    for picture in pictures:
        angle, waves = rng.uniform(0, np.pi), rng.uniform(1, 2.5)
        along = np.cos(angle) * xx + np.sin(angle) * yy
        stripes = np.tanh(8 * np.sin(2 * np.pi * (waves * along + rng.random())))
        picture[0] = 0.5 + rng.uniform(0.15, 0.3) * stripes + 0.15 * (xx - 0.5) * rng.normal()
    return torch.from_numpy(pictures)


def smaller(picture):
    return F.avg_pool2d(picture, 2)


def interpolate(picture):
    return F.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)


# %%
class Upscaler(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, WIDTH, 3, padding=1)
        self.middle = nn.ModuleList([nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(DEPTH - 2)])
        self.last = nn.Conv2d(WIDTH, 1, 3, padding=1)
        for conv in [self.first, *self.middle]:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)

    def forward(self, small):
        blurred = interpolate(small)
        h = F.relu(self.first((blurred - 0.5) / 0.25))
        for conv in self.middle:
            h = F.relu(conv(h))
        return blurred + self.last(h)


# %%
torch.manual_seed(27)
rng = np.random.default_rng(27)
train_large, val_large = patches(480, rng), patches(120, rng)
val_small = smaller(val_large)
upscaler = Upscaler()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(upscaler.parameters(), lr=1.5e-3)
epochs, batch = 8, 16
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

# %%
for epoch in range(epochs):
    upscaler.train()
    total = 0.0
    for rows in torch.randperm(len(train_large)).split(batch):
        large = train_large[rows]
        loss = criterion(upscaler(smaller(large)), large)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    scheduler.step()
    upscaler.eval()
    with torch.no_grad():
        error = criterion(upscaler(val_small), val_large).item()
    # in grey levels of 0 to 100, as the root of the mean squared error
    print(f"epoch {epoch}: train {100 * (total / len(train_large)) ** 0.5:.3f} validation {100 * error**0.5:.3f}")
