"""A causal Transformer, written out, that predicts the next event in the logs of a machine; the averaged weights are scored."""

import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

N_EVENTS, LENGTH, DIM, HEADS = 12, 25, 48, 4


def write_logs(n, generator):
    """The next event follows from the last two by a table; one time in ten it is any event."""
    table = torch.randint(N_EVENTS, (N_EVENTS, N_EVENTS), generator=torch.Generator().manual_seed(77))
    logs = torch.randint(N_EVENTS, (n, LENGTH), generator=generator)
    for t in range(2, LENGTH):
        ruled = torch.rand(n, generator=generator) < 0.9
        logs[:, t] = torch.where(ruled, table[logs[:, t - 2], logs[:, t - 1]], logs[:, t])
    return logs


class SelfAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)
        later = torch.ones(t, t, dtype=torch.bool).triu(diagonal=1)
        weights = scores.masked_fill(later, -1e9).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 3 * dim), nn.GELU(), nn.Linear(3 * dim, dim))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class EventGPT(nn.Module):
    def __init__(self, layers=2):
        super().__init__()
        self.event = nn.Embedding(N_EVENTS, DIM)
        self.place = nn.Parameter(0.02 * torch.randn(1, LENGTH, DIM))
        self.blocks = nn.ModuleList(Block(DIM, HEADS) for _ in range(layers))
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, N_EVENTS)

    def forward(self, events):
        x = self.event(events) + self.place[:, : events.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Average:
    """Exponential moving average of a model's weights."""

    def __init__(self, model, decay=0.97):
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for kept, new in zip(self.model.parameters(), model.parameters()):
            kept.mul_(self.decay).add_(new, alpha=1 - self.decay)


def configure_optimizer(model, lr):
    decay = [p for n, p in model.named_parameters() if n.endswith("weight") and "norm" not in n]
    rest = [p for n, p in model.named_parameters() if not n.endswith("weight") or "norm" in n]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))


def next_event_loss(model, logs):
    inputs, targets = logs[:, :-1], logs[:, 1:]
    logits = model(inputs)
    return F.cross_entropy(logits.reshape(-1, N_EVENTS), targets.reshape(-1))


def main():
    torch.manual_seed(21)
    generator = torch.Generator().manual_seed(3)
    logs, logs_val = write_logs(4000, generator), write_logs(400, generator)
    model = EventGPT()
    average = Average(model)
    optimizer = configure_optimizer(model, lr=3e-3)
    steps, batch = 300, 40
    warmup = 20
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warmup, max(0.05, 1 - (s - warmup) / (steps - warmup)))
    )
    order = torch.cat([torch.randperm(len(logs)) for _ in range(steps * batch // len(logs))])
    for step in range(1, steps + 1):
        pick = order[(step - 1) * batch : step * batch]
        loss = next_event_loss(model, logs[pick])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update(model)
        if step % 50 == 0:
            with torch.no_grad():
                val = next_event_loss(average.model, logs_val).item()
            print(f"step {step:3d} | train {loss.item():.4f} | val (averaged weights) {val:.4f}")


if __name__ == "__main__":
    main()
