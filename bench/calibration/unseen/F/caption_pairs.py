"""Pictures and captions meet in one space (as in CLIP). Score: how often the right one of all captions is nearest."""

import itertools
import math
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

SIDE, DIM = 10, 24
SHAPES = {"square": ["square", "box"], "cross": ["cross", "plus"], "ring": ["ring", "circle"], "bar": ["bar", "stripe"]}
SIZES = {"small": ["small", "little"], "large": ["large", "big"]}
CORNERS = ["northwest", "northeast", "southwest", "southeast"]
SCENES = list(itertools.product(SHAPES, SIZES, CORNERS))
WORDS = sorted({w for group in (SHAPES, SIZES) for ws in group.values() for w in ws} | set(CORNERS))
INDEX = {w: i for i, w in enumerate(WORDS)}


def paint(shape, size, corner, rng):
    cy = (2.5 if corner.startswith("north") else 6.5) + rng.uniform(-0.6, 0.6)
    cx = (2.5 if corner.endswith("west") else 6.5) + rng.uniform(-0.6, 0.6)
    r = 1.3 if size == "small" else 2.4
    axis = torch.arange(SIDE, dtype=torch.float32)
    y, x = torch.meshgrid(axis - cy, axis - cx, indexing="ij")
    if shape == "square":
        hit = (y.abs() < r) & (x.abs() < r)
    elif shape == "cross":
        hit = ((y.abs() < 0.6) & (x.abs() < r)) | ((x.abs() < 0.6) & (y.abs() < r))
    elif shape == "ring":
        far = (y**2 + x**2).sqrt()
        hit = (far < r + 0.3) & (far > r - 0.9)
    else:
        hit = (y.abs() < 0.6) & (x.abs() < r + 0.3)
    noise = 0.12 * torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(rng.randrange(2**31)))
    return (hit.float() * rng.uniform(0.7, 1.3) + noise)[None]


def caption(shape, size, corner, rng):
    words = [rng.choice(SHAPES[shape]), rng.choice(SIZES[size]), corner]
    rng.shuffle(words)
    return torch.tensor([INDEX[w] for w in words])


def album(copies, seed):
    """Pictures [copies, scenes, 1, side, side] and captions [copies, scenes, 3]: a row has each scene once."""
    rng = random.Random(seed)
    pictures = torch.stack([torch.stack([paint(*s, rng) for s in SCENES]) for _ in range(copies)])
    captions = torch.stack([torch.stack([caption(*s, rng) for s in SCENES]) for _ in range(copies)])
    return pictures, captions


class Eye(nn.Module):
    def __init__(self):
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU()
        )
        self.project = nn.Linear(24 * 5 * 5, DIM)

    def forward(self, pictures):
        h = self.see(pictures).flatten(1)
        return F.normalize(self.project(h), dim=1)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(len(WORDS), 32)
        self.project = nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, DIM))

    def forward(self, captions):
        return F.normalize(self.project(self.words(captions).mean(dim=1)), dim=1)


class Pairing(nn.Module):
    def __init__(self):
        super().__init__()
        self.eye, self.reader = Eye(), Reader()
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(self, pictures, captions):
        return self.eye(pictures), self.reader(captions)

    def loss(self, a, b):
        logits = self.log_scale.clamp(max=math.log(50.0)).exp() * a @ b.T
        match = torch.arange(len(a))
        return 0.5 * (F.cross_entropy(logits, match) + F.cross_entropy(logits.T, match))


def retrieval(model, pictures, captions):
    model.eval()
    right = 0
    with torch.no_grad():
        for p, c in zip(pictures, captions):
            a, b = model(p, c)
            right += ((a @ b.T).argmax(dim=1) == torch.arange(len(p))).sum().item()
    return right / (len(pictures) * len(SCENES))


torch.manual_seed(6)
pictures, captions = album(200, seed=10)
new_pictures, new_captions = album(15, seed=20)
model = Pairing()
o = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
for epoch in range(3):
    model.train()
    total = 0.0
    for row in torch.randperm(len(pictures)).tolist():
        mixed = torch.randperm(len(SCENES))
        a, b = model(pictures[row, mixed], captions[row, mixed])
        cost = model.loss(a, b)
        o.zero_grad()
        cost.backward()
        o.step()
        total += cost.item()
    print(
        f"epoch {epoch}: loss {total / len(pictures):.3f}, retrieval {retrieval(model, new_pictures, new_captions):.4f}"
    )
