"""Who clicks on what: a factorisation machine over four categorical fields, gradients gathered over micro batches."""

import torch
import torch.nn.functional as F
from torch import nn

FIELDS = {"user": 40, "item": 50, "hour": 8, "device": 5}
RANK, MICRO, GATHER = 8, 64, 4


def make_log(n, seed):
    g = torch.Generator().manual_seed(seed)
    cards = torch.tensor(list(FIELDS.values()))
    cols = torch.stack([torch.randint(int(c), (n,), generator=g) for c in cards], dim=1)
    truth = torch.Generator().manual_seed(99)
    liking = [torch.randn(int(c), 3, generator=truth) for c in cards]
    bias = [0.4 * torch.randn(int(c), generator=truth) for c in cards]
    score = sum(b[cols[:, i]] for i, b in enumerate(bias)) - 0.5
    for i in range(4):
        for j in range(i + 1, 4):
            score = score + 1.2 * (liking[i][cols[:, i]] * liking[j][cols[:, j]]).sum(1)
    return cols, torch.bernoulli(torch.sigmoid(score), generator=g)


class FactorisationMachine(nn.Module):
    def __init__(self, cards, rank):
        super().__init__()
        starts = torch.tensor([0, *cards[:-1]]).cumsum(0)
        self.register_buffer("starts", starts)
        self.intercept = nn.Parameter(torch.zeros(1))
        self.linear = nn.Embedding(sum(cards), 1)
        self.factors = nn.Parameter(0.1 * torch.randn(sum(cards), rank))
        nn.init.zeros_(self.linear.weight)

    def forward(self, cols):
        rows = cols + self.starts
        v = self.factors[rows]
        pairs = 0.5 * (v.sum(dim=1).square() - v.square().sum(dim=1)).sum(dim=1)
        return self.intercept + self.linear(rows).sum(dim=1).squeeze(-1) + pairs


def log_loss(logit, clicked):
    return (F.softplus(logit) - clicked * logit).mean()


def evaluate(fm, cols, clicked):
    fm.eval()
    with torch.no_grad():
        logit = fm(cols)
    fm.train()
    return log_loss(logit, clicked).item(), ((logit > 0).float() == clicked).float().mean().item()


torch.manual_seed(4)
cols, clicked = make_log(24000, seed=1)
cols_val, clicked_val = make_log(4000, seed=2)
fm = FactorisationMachine(list(FIELDS.values()), RANK)
opt = torch.optim.Adam(fm.parameters(), lr=0.02)

for epoch in range(5):
    micro_batches = torch.randperm(len(cols)).split(MICRO)
    opt.zero_grad()
    for i, pick in enumerate(micro_batches, start=1):
        loss = log_loss(fm(cols[pick]), clicked[pick])
        (loss / GATHER).backward()
        if i % GATHER == 0:
            opt.step()
            opt.zero_grad()
    hit_loss, hit = evaluate(fm, cols_val, clicked_val)
    print(f"epoch {epoch}: last micro batch {loss.item():.3f} | held out: hits {hit:.3f}, log loss {hit_loss:.4f}")
