"""Where is kelp in an aerial picture? A small encoder and decoder mark it, pixel by pixel; the score is the overlap."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIDE = 16
BN_KEEP = 0.9  # share of the running statistics that a batch leaves as they were


def aerial_pictures(count, seed):
    """Slanting kelp beds (fine-grained) on water with sun glint (bright, but smooth); three channels, and the mask."""
    g = torch.Generator().manual_seed(seed)
    axis = torch.arange(SIDE, dtype=torch.float32)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    pictures, masks = [], []
    for _ in range(count):
        cy, cx = (torch.rand(2, generator=g) * 10 + 3).tolist()
        angle = torch.rand(1, generator=g).item() * math.pi
        u = (xx - cx) * math.cos(angle) + (yy - cy) * math.sin(angle)
        v = -(xx - cx) * math.sin(angle) + (yy - cy) * math.cos(angle)
        bed = ((u / 5.0) ** 2 + (v / 2.2) ** 2 < 1).float()
        gy, gx = (torch.rand(2, generator=g) * SIDE).tolist()
        glint = torch.exp(-((xx - gx) ** 2 + (yy - gy) ** 2) / 12)
        water = torch.stack([0.2 + 0.8 * glint, 0.4 + 0.6 * glint, 0.6 + 0.4 * glint])
        tint = torch.tensor([0.25, 0.15, -0.25])[:, None, None] * bed
        pictures.append(water + tint + 0.13 * torch.randn(3, SIDE, SIDE, generator=g))
        masks.append(bed[None])
    return torch.stack(pictures), torch.stack(masks)


class KelpBeds(Dataset):
    def __init__(self, count, seed, augment=False):
        self.pictures, self.masks = aerial_pictures(count, seed)
        self.augment = augment

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        picture, mask = self.pictures[i], self.masks[i]
        if self.augment:
            for side in (1, 2):
                if torch.rand(1).item() < 0.5:
                    picture, mask = picture.flip(side), mask.flip(side)
        return picture, mask


def conv_bn(c_in, c_out):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out, momentum=1 - BN_KEEP),
        nn.ReLU(),
    )


class KelpNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.fine = conv_bn(3, width)
        self.coarse = nn.Sequential(nn.MaxPool2d(2), conv_bn(width, 2 * width), conv_bn(2 * width, width))
        self.merge = conv_bn(2 * width, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        fine = self.fine(x)
        coarse = F.interpolate(self.coarse(fine), scale_factor=2.0)
        return self.head(self.merge(torch.cat([fine, coarse], dim=1)))


@torch.no_grad()
def overlap(model, loader):
    """Intersection over union of all pixels."""
    model.eval()
    both = either = 0.0
    for picture, mask in loader:
        said, true = model(picture) > 0, mask > 0.5
        both += (said & true).sum().item()
        either += (said | true).sum().item()
    return both / max(either, 1)


def main():
    torch.manual_seed(11)
    train_set, val_set = KelpBeds(320, seed=1, augment=True), KelpBeds(120, seed=2)
    train_loader = DataLoader(train_set, batch_size=16, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=60)

    model = KelpNet()
    share = train_set.masks.mean()
    pos_weight = ((1 - share) / share).sqrt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-4)
    epochs = 9
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(train_loader))

    for epoch in range(epochs):
        model.train()
        running = 0.0
        for picture, mask in train_loader:
            loss = F.binary_cross_entropy_with_logits(model(picture), mask, pos_weight=pos_weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            running += loss.item()
        iou = overlap(model, val_loader)
        print(f"epoch {epoch + 1}: train loss {running / len(train_loader):.4f}, val IoU {iou:.4f}")


if __name__ == "__main__":
    main()
