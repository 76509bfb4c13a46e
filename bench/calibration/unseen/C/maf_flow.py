"""Masked autoregressive flow: the density of four entangled measurements. Averaged weights are the ones judged."""

import copy
import math

import torch
from torch import nn

DIM, HIDDEN, FLOWS, STEPS, BATCH, DECAY = 4, 48, 3, 700, 128, 0.98


def sample(n, g):
    a = torch.randn(n, generator=g)
    b = 0.6 * a**2 - 0.6 + 0.35 * torch.randn(n, generator=g)
    c = torch.sin(2 * b) + 0.3 * torch.randn(n, generator=g)
    d = a * c + 0.4 * torch.randn(n, generator=g)
    return torch.stack([d, c, b, a], 1)


class MaskedLinear(nn.Linear):
    def __init__(self, n_in, n_out, mask):
        super().__init__(n_in, n_out)
        self.register_buffer("mask", mask.float())

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """Shift and log-scale of each variable, from those before it alone."""

    def __init__(self):
        super().__init__()
        inputs = torch.arange(DIM)
        hidden = torch.arange(HIDDEN) % (DIM - 1)
        outputs = inputs.repeat(2)
        self.layers = nn.Sequential(
            MaskedLinear(DIM, HIDDEN, hidden[:, None] >= inputs[None, :]),
            nn.Tanh(),
            MaskedLinear(HIDDEN, HIDDEN, hidden[:, None] >= hidden[None, :]),
            nn.Tanh(),
            MaskedLinear(HIDDEN, 2 * DIM, outputs[:, None] > hidden[None, :]),
        )

    def forward(self, x):
        shift, log_scale = self.layers(x).chunk(2, dim=1)
        log_scale = 2 * torch.tanh(log_scale / 2)
        return (x - shift) * torch.exp(-log_scale), -log_scale.sum(1)


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList(MADE() for _ in range(FLOWS))

    def log_prob(self, x):
        log_det = torch.zeros(len(x))
        for made in self.steps:
            x, ld = made(x)
            log_det = log_det + ld
            x = x.flip(1)
        base = -0.5 * (x**2).sum(1) - 0.5 * DIM * math.log(2 * math.pi)
        return base + log_det


@torch.no_grad()
def update_average(average, model, decay):
    for kept, new in zip(average.parameters(), model.parameters()):
        kept.mul_(decay).add_(new, alpha=1 - decay)


g = torch.Generator().manual_seed(8)
torch.manual_seed(8)
train_x, test_x = sample(4000, g), sample(1500, g)
mean, std = train_x.mean(0), train_x.std(0)
train_x, test_x = (train_x - mean) / std, (test_x - mean) / std

flow = Flow()
average = copy.deepcopy(flow).requires_grad_(False)
optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
skipped = 0

for step in range(1, STEPS + 1):
    batch = train_x[torch.randint(len(train_x), (BATCH,))]
    loss = -flow.log_prob(batch).mean()
    if not torch.isfinite(loss):
        skipped += 1
        continue
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
    optimizer.step()
    update_average(average, flow, DECAY)
    if step % 100 == 0:
        with torch.no_grad():
            held_out = -average.log_prob(test_x).mean().item()
        print(f"step {step} skipped {skipped} train {loss.item():.4f} held-out {held_out:.4f}")
with torch.no_grad():
    print(f"negative log-likelihood of the held-out points: {-average.log_prob(test_x).mean().item():.4f}")
