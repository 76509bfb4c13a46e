"""A small U-Net that marks bright cells on an uneven background; rings and streaks are to be left out. bf16 autocast."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIDE = 24


def draw(rng):
    """One picture as a microscope would store it (uint8), and the mask of its cells."""
    yy, xx = np.mgrid[:SIDE, :SIDE]
    picture = 60 + 40 * (xx / SIDE) * rng.random() + 40 * (yy / SIDE) * rng.random()
    mask = np.zeros((SIDE, SIDE), bool)
    for _ in range(rng.integers(1, 4)):
        cy, cx, r = rng.uniform(4, SIDE - 4), rng.uniform(4, SIDE - 4), rng.uniform(2.0, 3.6)
        disc = (yy - cy) ** 2 + (xx - cx) ** 2 < r**2
        picture[disc] += rng.uniform(50, 80)
        mask |= disc
    cy, cx, r = rng.uniform(5, SIDE - 5), rng.uniform(5, SIDE - 5), rng.uniform(3.0, 5.0)
    ring = np.abs(np.sqrt((yy - cy) ** 2 + (xx - cx) ** 2) - r) < 0.7
    picture[ring & ~mask] += 60
    picture[rng.integers(SIDE), :] += 40
    picture += rng.normal(0, 12, picture.shape)
    return picture.clip(0, 255).astype(np.uint8), mask


class CellImages(Dataset):
    def __init__(self, n, seed, augment=False):
        rng = np.random.default_rng(seed)
        pairs = [draw(rng) for _ in range(n)]
        self.pictures = torch.from_numpy(np.stack([p for p, _ in pairs]))
        self.masks = torch.from_numpy(np.stack([m for _, m in pairs]))
        self.augment = augment

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        img, mask = self.pictures[i][None].float(), self.masks[i][None].float()
        if self.augment:
            if torch.rand(()) < 0.5:
                img = img.flip(-1)
                mask = mask.flip(-1)
            if torch.rand(()) < 0.5:
                img = img.flip(-2)
                mask = mask.flip(-2)
        img = (img - 95.0) / 32.0
        return img, mask


def double_conv(c_in, c_out):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.enc1 = double_conv(1, c)
        self.enc2 = double_conv(c, 2 * c)
        self.bottom = double_conv(2 * c, 3 * c)
        self.dec2 = double_conv(5 * c, 2 * c)
        self.dec1 = double_conv(3 * c, c)
        self.head = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        s1 = self.enc1(x)
        s2 = self.enc2(F.max_pool2d(s1, 2))
        x = self.bottom(F.max_pool2d(s2, 2))
        x = self.dec2(torch.cat([F.interpolate(x, scale_factor=2), s2], 1))
        x = self.dec1(torch.cat([F.interpolate(x, scale_factor=2), s1], 1))
        return self.head(x)


class Segmenter:
    """Holds the network, its optimizer and the two loaders."""

    def __init__(self, lr=3e-3, epochs=10):
        self.net = UNet()
        self.opt = torch.optim.Adam(self.net.parameters(), lr=lr)
        self.epochs = epochs
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.opt, T_max=epochs)
        self.criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
        self.train_dl = DataLoader(CellImages(320, seed=1, augment=True), batch_size=16, shuffle=True)
        self.val_dl = DataLoader(CellImages(100, seed=2), batch_size=50)

    def run_epoch(self):
        self.net.train()
        running = 0.0
        for img, mask in self.train_dl:
            self.opt.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = self.net(img)
            loss = self.criterion(logits.float(), mask)
            loss.backward()
            self.opt.step()
            running += loss.item()
        self.schedule.step()
        return running / len(self.train_dl)

    @torch.no_grad()
    def iou(self):
        self.net.eval()
        inter = union = 0
        for img, mask in self.val_dl:
            found = self.net(img) > 0
            inter += (found & mask.bool()).sum().item()
            union += (found | mask.bool()).sum().item()
        return inter / union


if __name__ == "__main__":
    torch.manual_seed(3)
    seg = Segmenter()
    for epoch in range(seg.epochs):
        loss = seg.run_epoch()
        print(f"[{epoch:2d}] train {loss:.4f}  IoU {seg.iou():.4f}")
