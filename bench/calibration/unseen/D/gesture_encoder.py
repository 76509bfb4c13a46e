"""Which gesture did the wrist make? Three accelerations over time, read by a Transformer encoder with a class token."""

import math
from types import SimpleNamespace

import torch
import torch.nn as nn

cfg = SimpleNamespace(n_train=1200, n_val=400, time=24, dim=32, heads=4, layers=2, batch=32, epochs=8, lr=1.5e-3, warmup=25)

# every gesture is an order of three strokes, each along one of the three axes
GESTURES = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def record(n, generator):
    labels = torch.randint(len(GESTURES), (n,), generator=generator)
    signal = 0.3 * torch.randn(n, 3, cfg.time, generator=generator)
    clock = torch.arange(cfg.time)
    for i, label in enumerate(labels.tolist()):
        first = 3 + 2 * torch.rand((), generator=generator)
        for k, axis in enumerate(GESTURES[label]):
            middle = first + k * 7 + 1.5 * torch.rand((), generator=generator)
            height = 1.2 + 0.6 * torch.rand((), generator=generator)
            signal[i, axis] += height * torch.exp(-((clock - middle) ** 2) / 3)
    return signal.transpose(1, 2).contiguous(), labels  # (n, time, axes)


class GestureNet(nn.Module):
    def __init__(self, axes, classes):
        super().__init__()
        self.embed = nn.Linear(axes, cfg.dim)
        self.token = nn.Parameter(torch.zeros(1, 1, cfg.dim))
        self.position = nn.Parameter(torch.zeros(1, cfg.time, cfg.dim))
        nn.init.trunc_normal_(self.position, std=0.02)
        layer = nn.TransformerEncoderLayer(
            cfg.dim, cfg.heads, 2 * cfg.dim, dropout=0.05, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, cfg.layers, norm=nn.LayerNorm(cfg.dim), enable_nested_tensor=False)
        self.classify = nn.Sequential(nn.Linear(cfg.dim, classes), nn.LogSoftmax(dim=1))

    def forward(self, signal):
        x = self.embed(signal) + self.position
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
        return self.classify(self.encoder(x)[:, 0])


def schedule(optimizer, total):
    def share(step):
        if step < cfg.warmup:
            return (step + 1) / cfg.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - cfg.warmup) / (total - cfg.warmup)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def fit(model, data, val):
    signals, labels = data
    criterion = nn.NLLLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=0.01)
    total = cfg.epochs * math.ceil(len(labels) / cfg.batch)
    scheduler = schedule(optimizer, total)
    for epoch in range(cfg.epochs):
        model.train()
        for rows in torch.randperm(len(labels)).split(cfg.batch):
            loss = criterion(model(signals[rows]), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            scheduler.step()
        val_loss, accuracy = evaluate(model, val, criterion)
        print(f"epoch {epoch} train {loss.item():.4f} val loss {val_loss:.4f} accuracy {accuracy:.4f}")


@torch.no_grad()
def evaluate(model, val, criterion):
    model.eval()
    signals, labels = val
    out = model(signals)
    return criterion(out, labels).item(), (out.argmax(1) == labels).float().mean().item()


if __name__ == "__main__":
    torch.manual_seed(14)
    generator = torch.Generator().manual_seed(15)
    fit(GestureNet(3, len(GESTURES)), record(cfg.n_train, generator), record(cfg.n_val, generator))
