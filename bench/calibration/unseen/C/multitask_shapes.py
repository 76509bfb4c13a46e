"""Which shape is it, and how large? One trunk, two heads, and weights for the two losses that are learned as well."""

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

KINDS = ("square", "disc", "plus", "frame")


class Shapes(Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.images, self.kinds, self.sizes = [], [], []
        for _ in range(count):
            kind, size = int(rng.integers(len(KINDS))), rng.uniform(3.0, 6.0)
            self.images.append(self.paint(rng, kind, size))
            self.kinds.append(kind)
            self.sizes.append((size - 4.5) / 0.87)

    @staticmethod
    def paint(rng, kind, size):
        y, x = np.mgrid[:16, :16] - rng.uniform(6.5, 8.5, (2, 1, 1))
        far = np.maximum(abs(x), abs(y))
        inside = {
            "square": far < 0.9 * size,
            "disc": x**2 + y**2 < size**2,
            "plus": (np.minimum(abs(x), abs(y)) < 0.35 * size) & (far < size),
            "frame": (far < size) & (far > 0.55 * size),
        }[KINDS[kind]]
        return rng.uniform(0.6, 1.0) * inside + rng.normal(0, 0.12, (16, 16)) - 0.25

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, k):
        image = torch.tensor(self.images[k], dtype=torch.float32)[None]
        return image, self.kinds[k], torch.tensor(self.sizes[k], dtype=torch.float32)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(24 * 16, 48),
            nn.LeakyReLU(0.1),
        )
        self.kind_head = nn.Linear(48, len(KINDS))
        self.size_head = nn.Sequential(nn.Linear(48, 24), nn.LeakyReLU(0.1), nn.Linear(24, 1))

    def forward(self, images):
        features = self.trunk(images)
        return self.kind_head(features), self.size_head(features).squeeze(-1)


class BalancedLoss(nn.Module):
    """The two losses by their learned uncertainties, as Kendall and others weigh them."""

    def __init__(self):
        super().__init__()
        self.log_vars = nn.Parameter(torch.zeros(2))
        self.ce = nn.CrossEntropyLoss()
        self.mse = nn.MSELoss()

    def forward(self, logits, kinds, sizes_pred, sizes):
        losses = torch.stack([self.ce(logits, kinds), self.mse(sizes_pred, sizes)])
        return (losses * torch.exp(-self.log_vars) + 0.5 * self.log_vars).sum(), losses.detach()


def run():
    torch.manual_seed(21)
    train_dl = DataLoader(Shapes(2000, seed=1), batch_size=48, shuffle=True)
    valid_dl = DataLoader(Shapes(400, seed=2), batch_size=200)
    net, objective = TwoHeads(), BalancedLoss()
    params = [*net.parameters(), *objective.parameters()]
    epochs = 8
    optim = torch.optim.Adam(params, lr=1e-3)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR(optim, max_lr=5e-3, steps_per_epoch=len(train_dl), epochs=epochs)
    for epoch in range(1, epochs + 1):
        net.train()
        parts = torch.zeros(2)
        for images, kinds, sizes in train_dl:
            logits, sizes_pred = net(images)
            total, losses = objective(logits, kinds, sizes_pred, sizes)
            optim.zero_grad()
            total.backward()
            optim.step()
            one_cycle.step()
            parts += losses / len(train_dl)

        net.eval()
        right, ce, se = 0, 0.0, 0.0
        with torch.no_grad():
            for images, kinds, sizes in valid_dl:
                logits, sizes_pred = net(images)
                right += (logits.argmax(1) == kinds).sum().item() / 400
                ce += nn.functional.cross_entropy(logits, kinds).item() / len(valid_dl)
                se += nn.functional.mse_loss(sizes_pred, sizes.view_as(sizes_pred)).item() / len(valid_dl)
        print(f"{epoch}: train {parts[0]:.3f}+{parts[1]:.3f} right {right:.3f} kind {ce:.4f} size {se:.4f} both {ce + se:.4f}")


run()
