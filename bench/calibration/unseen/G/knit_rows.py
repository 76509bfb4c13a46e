"""A tiny causal transformer that learns to read knitting rows and to finish them."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

STITCHES = "kpyso"
START = len(STITCHES)
LENGTH, HINT = 20, 10
WIDTH, HEADS, LAYERS = 48, 4, 2
STEPS, BATCH, WARMUP, PEAK = 420, 48, 40, 3e-3


def rows(n):
    """Ribbing: m of one stitch, m of another, and so on; m is 1 to 4 and the first rib may be cut."""
    m = torch.randint(1, 5, (n, 1))
    first = torch.randint(0, len(STITCHES), (n, 1))
    second = (first + torch.randint(1, len(STITCHES), (n, 1))) % len(STITCHES)
    place = torch.arange(LENGTH) + torch.randint(0, 4, (n, 1)) % m
    row = torch.where((place // m) % 2 == 0, first, second)
    return torch.cat([torch.full((n, 1), START), row], dim=1)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(heads.transpose(1, 2).reshape(b, t, WIDTH))
        return x + self.mlp(self.norm2(x))


class RowModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.stitch = nn.Embedding(len(STITCHES) + 1, WIDTH)
        self.place = nn.Embedding(LENGTH, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(STITCHES) + 1, bias=False)
        self.head.weight = self.stitch.weight
        self.apply(self.start)

    @staticmethod
    def start(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.05)

    def forward(self, ids):
        x = self.stitch(ids) + self.place(torch.arange(ids.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def next_stitch_loss(model, batch):
    logits = model(batch[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def finish(model, batch):
    """Share of the stitches after the hint that the model, reading its own output, gets right."""
    model.eval()
    ids = batch[:, : HINT + 1]
    while ids.shape[1] <= LENGTH:
        ids = torch.cat([ids, model(ids)[:, -1].argmax(-1, keepdim=True)], dim=1)
    return (ids[:, HINT + 1 :] == batch[:, HINT + 1 :]).float().mean().item()


def rate(step):
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


if __name__ == "__main__":
    torch.manual_seed(17)
    val, test = rows(200), rows(300)
    model = RowModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for step in range(STEPS):
        model.train()
        loss = next_stitch_loss(model, rows(BATCH))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 70 == 69:
            model.eval()
            with torch.no_grad():
                print(f"step {step + 1} loss {loss.item():.4f} val {next_stitch_loss(model, val).item():.4f}")
    print(f"stitches finished rightly {finish(model, test):.4f}")
