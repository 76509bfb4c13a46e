"""Scratches on brushed metal: which pixels belong to one? Dilated convolutions, batches cut by hand."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

PRIOR = 0.05  # about so many pixels belong to a scratch


def plate(rng, side=24):
    """A photograph (bytes) and where its scratches are."""
    grain = rng.normal(0, 9, (side, 1)) + rng.normal(0, 9, (side, side))
    photo = 110 + grain
    mask = np.zeros((side, side), dtype=bool)
    for _ in range(rng.integers(1, 3)):
        start, angle = rng.uniform(5, side - 5, 2), rng.uniform(0, np.pi)
        for s in np.linspace(-7, 7, 40):
            row, column = np.round(start + s * np.array([np.sin(angle), np.cos(angle)])).astype(int)
            if 0 <= row < side and 0 <= column < side:
                mask[row, column] = True
    photo[mask] += rng.uniform(30, 55)
    for _ in range(6):  # dust is as bright, but round
        r, c = rng.integers(1, side - 2, 2)
        if not mask[r - 1 : r + 3, c - 1 : c + 3].any():
            photo[r : r + 2, c : c + 2] += rng.uniform(30, 55)
    return photo.clip(0, 255), mask


def plates(n, seed):
    rng = np.random.default_rng(seed)
    photos, masks = zip(*(plate(rng) for _ in range(n)))
    return (
        torch.tensor(np.stack(photos), dtype=torch.float32).unsqueeze(1),
        torch.tensor(np.stack(masks), dtype=torch.float32).unsqueeze(1),
    )


def build(c=16):
    head = nn.Conv2d(c, 1, 1)
    net = nn.Sequential(
        nn.Conv2d(1, c, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(c, c, 3, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(c, c, 3, padding=4, dilation=4),
        nn.ReLU(),
        nn.Conv2d(c, c, 3, padding=1),
        nn.ReLU(),
        head,
    )
    # start by believing that scratches are rare
    nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))
    return net


def augment(photo, mask):
    """Any of the eight ways to lay a plate on the table, the same for all of a batch."""
    turns = int(torch.randint(4, ()))
    both = torch.cat([photo, mask], dim=1).rot90(turns, (2, 3))
    if torch.rand(()) < 0.5:
        both = both.flip(3)
    return both[:, :1], both[:, 1:]


def loss_of(logits, mask):
    pixelwise = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    weight = 1 + 2 * mask
    return (weight * pixelwise).sum() / weight.sum()


def dice(net, photos, masks):
    net.eval()
    with torch.no_grad():
        found = (net(photos) > 0).float()
    net.train()
    return (2 * (found * masks).sum() / (found.sum() + masks.sum())).item()


def train(net, photos, masks, val_photos, val_masks, epochs=11, batch=20):
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    steps = epochs * math.ceil(len(photos) / batch)
    sched = torch.optim.lr_scheduler.PolynomialLR(opt, total_iters=steps, power=0.9)
    net.train()
    for epoch in range(epochs):
        for rows in torch.randperm(len(photos)).split(batch):
            photo, mask = augment(photos[rows], masks[rows])
            loss = loss_of(net(photo), mask)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
        print(f"{epoch:2d} loss {loss.item():.4f} dice {dice(net, val_photos, val_masks):.4f}")


torch.manual_seed(8)
photos, masks = plates(320, seed=10)
val_photos, val_masks = plates(100, seed=11)
mu, sigma = photos.mean(), photos.std()
photos = (photos - mu) / sigma
val_photos = (val_photos - mu) / sigma
train(build(), photos, masks, val_photos, val_masks)
