"""An MLP-Mixer for the 8x8 digits: sixteen tokens of four pixels, bf16 autocast, and averaged weights at the end."""

import copy
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

hp = SimpleNamespace(dim=64, blocks=2, drop=0.1, lr=4e-3, weight_decay=0.05, epochs=10, batch=32, ema=0.97, seed=5)


class Mlp(nn.Module):
    def __init__(self, size, inner, drop):
        super().__init__()
        self.up, self.down, self.drop = nn.Linear(size, inner), nn.Linear(inner, size), nn.Dropout(drop)

    def forward(self, x):
        return self.drop(self.down(F.gelu(self.up(x))))


class MixerBlock(nn.Module):
    def __init__(self, tokens, dim, drop):
        super().__init__()
        self.norm_tokens, self.norm_channels = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.over_tokens = Mlp(tokens, 2 * tokens, drop)
        self.over_channels = Mlp(dim, 2 * dim, drop)

    def forward(self, x):
        x = x + self.over_tokens(self.norm_tokens(x).transpose(1, 2)).transpose(1, 2)
        return x + self.over_channels(self.norm_channels(x))


class Mixer(nn.Module):
    def __init__(self, dim, blocks, drop, classes=10):
        super().__init__()
        self.patches = nn.Conv2d(1, dim, kernel_size=2, stride=2)
        self.blocks = nn.Sequential(*[MixerBlock(16, dim, drop) for _ in range(blocks)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, image):
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = self.norm(self.blocks(x))
        return self.head(x.mean(dim=1))


def load():
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    fit, test = train_test_split(torch.arange(len(labels)), test_size=0.25, stratify=labels, random_state=hp.seed)
    labels = torch.tensor(labels)
    return images[fit], labels[fit], images[test], labels[test]


def check(net, images, labels):
    net.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(images).float()
    return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


torch.manual_seed(hp.seed)
x_fit, y_fit, x_test, y_test = load()
net = Mixer(hp.dim, hp.blocks, hp.drop)
averaged = copy.deepcopy(net).requires_grad_(False)
opt = torch.optim.AdamW(net.parameters(), lr=hp.lr, weight_decay=hp.weight_decay)
steps = hp.epochs * (len(x_fit) // hp.batch)
cycle = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=hp.lr, total_steps=steps, pct_start=0.2)

for epoch in range(hp.epochs):
    net.train()
    for rows in torch.randperm(len(x_fit))[: len(x_fit) // hp.batch * hp.batch].split(hp.batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(x_fit[rows])
        loss = F.cross_entropy(logits.float(), y_fit[rows], label_smoothing=0.05)
        opt.zero_grad()
        loss.backward()
        opt.step()
        cycle.step()
        with torch.no_grad():
            for mean, new in zip(averaged.parameters(), net.parameters()):
                mean.mul_(hp.ema).add_(new, alpha=1 - hp.ema)
    if epoch % 2 == 1:
        loss_now, accuracy = check(averaged, x_test, y_test)
        print(f"epoch {epoch + 1}: averaged weights, test loss {loss_now:.4f}, test accuracy {accuracy:.4f}")
