# Which symbol occurs more often? Variable-length sequences, packed; clipped; one-cycle.
import itertools

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pack_sequence


def stream(seed, n):
    g = torch.Generator().manual_seed(seed)
    while True:
        seqs = [torch.randint(0, 3, (int(k),), generator=g) for k in torch.randint(5, 16, (n,), generator=g)]
        yield seqs, torch.tensor([float((s == 0).sum() > (s == 1).sum()) for s in seqs])


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(3, 8)
        self.gru = nn.GRU(8, 24)
        self.read = nn.Linear(24, 1)

    def forward(self, seqs):
        packed = pack_sequence([self.emb(s) for s in seqs], enforce_sorted=False)
        return self.read(self.gru(packed)[1][-1]).flatten()


torch.manual_seed(0)
net, steps = Counter(), 350
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
bce = nn.BCEWithLogitsLoss()
for k, (seqs, t) in enumerate(itertools.islice(stream(1, 48), steps)):
    loss = bce(net(seqs), t)
    for p in net.parameters():
        p.grad = None
    loss.backward()
    clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    cycle.step()
    if k % 50 == 49:
        with torch.no_grad():
            s, u = next(stream(99, 400))
            z = net(s)
        print(
            f"{k + 1} train {loss.item():.3f} test {bce(z, u).item():.3f} acc {((z > 0) == u.bool()).float().mean():.3f}"
        )
