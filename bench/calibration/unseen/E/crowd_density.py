"""How many are in the crowd? A small fully convolutional network paints a density map whose sum is the count."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


@dataclass
class Config:
    size: int = 20
    most: int = 8
    sigma: float = 1.2
    scale: float = 10.0
    prior: float = 0.2
    n_train: int = 640
    n_val: int = 200
    batch_size: int = 16
    epochs: int = 7
    lr: float = 0.03
    seed: int = 2


class CrowdScenes(Dataset):
    """Heads are round spots of one size; the ground has a slope of light and dark bars that are no heads."""

    def __init__(self, n, cfg, rng, augment=False):
        self.augment = augment
        self.rng = rng
        rows, cols = np.mgrid[0 : cfg.size, 0 : cfg.size].astype("float32")
        self.images = np.zeros((n, 1, cfg.size, cfg.size), "float32")
        self.maps = np.zeros_like(self.images)
        for i in range(n):
            slope = rng.normal(0, 0.02, 2)
            self.images[i, 0] = slope[0] * (rows - 10) + slope[1] * (cols - 10) + rng.normal(0, 0.08, rows.shape)
            self.images[i, 0, rng.integers(0, cfg.size)] -= 0.5
            for _ in range(rng.integers(1, cfg.most + 1)):
                r, c = rng.uniform(2, cfg.size - 3, 2)
                away = (rows - r) ** 2 + (cols - c) ** 2
                self.images[i, 0] += rng.uniform(0.7, 1.1) * (away < 4.0)
                spot = np.exp(-away / (2 * cfg.sigma**2))
                self.maps[i, 0] += cfg.scale * spot / spot.sum()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, density = self.images[i], self.maps[i]
        if self.augment and self.rng.random() < 0.5:
            image, density = image[:, :, ::-1], density[:, :, ::-1]
        if self.augment and self.rng.random() < 0.5:
            image, density = image[:, ::-1], density[:, ::-1]
        return torch.from_numpy(image.copy()), torch.from_numpy(density.copy())


class DensityNet(nn.Module):
    def __init__(self, cfg, width=16):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv3 = nn.Conv2d(width, width, 3, padding=2, dilation=2)
        self.head = nn.Conv2d(width, 1, 1)
        nn.init.constant_(self.head.bias, cfg.prior)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.conv2(x))
        x = F.relu(self.conv3(x))
        return self.head(x)


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        torch.manual_seed(cfg.seed)
        rng = np.random.default_rng(cfg.seed)
        scenes = CrowdScenes(cfg.n_train, cfg, rng, augment=True)
        self.train_loader = DataLoader(scenes, batch_size=cfg.batch_size, shuffle=True)
        self.val_loader = DataLoader(CrowdScenes(cfg.n_val, cfg, rng), batch_size=50)
        self.model = DensityNet(cfg)
        self.loss_fn = nn.MSELoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=cfg.lr, momentum=0.9, nesterov=True)
        steps = cfg.epochs * len(self.train_loader)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=steps)

    def fit(self):
        for epoch in range(1, self.cfg.epochs + 1):
            self.model.train()
            for image, density in self.train_loader:
                loss = self.loss_fn(self.model(image), density)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()
                self.scheduler.step()
            count_error, map_error = self.validate()
            print(f"[{epoch}/{self.cfg.epochs}] count error {count_error:.3f} map error {map_error:.5f}")

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        off, squares = 0.0, 0.0
        for image, density in self.val_loader:
            painted = self.model(image)
            counts = (painted - density).sum(dim=(1, 2, 3)) / self.cfg.scale
            off += counts.abs().sum().item()
            squares += F.mse_loss(painted, density).item() * len(image)
        return off / self.cfg.n_val, squares / self.cfg.n_val


if __name__ == "__main__":
    Trainer(Config()).fit()
