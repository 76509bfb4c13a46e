from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Split(NamedTuple):
    x: Tensor
    y: Tensor


def sample(n: int) -> Split:
    x = torch.rand(n, 1) * 4 - 2
    return Split(x, torch.sin(2 * x) + (0.1 + 0.2 * x.abs()) * torch.randn(n, 1))


def pinball(pred: Tensor, y: Tensor, q: Tensor) -> Tensor:
    e = y - pred
    return torch.maximum(q * e, (q - 1) * e).mean()


@contextmanager
def evaluating(m: nn.Module) -> Iterator[None]:
    was = m.training
    m.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        m.train(was)


torch.manual_seed(77)
Q = torch.tensor([0.1, 0.5, 0.9])
train, val = sample(2000), sample(1000)
m = nn.Sequential(nn.Linear(1, 40), nn.Softplus(), nn.Linear(40, 40), nn.Softplus(), nn.Linear(40, 3))
opt = torch.optim.NAdam(m.parameters(), lr=5e-3)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=3, factor=0.5)
for epoch in range(30):
    for i in torch.randperm(2000).view(-1, 100):
        loss = pinball(m(train.x[i]), train.y[i], Q)
        opt.zero_grad()
        loss.backward()
        opt.step()
    with evaluating(m):
        tl, vl = pinball(m(train.x), train.y, Q), pinball(m(val.x), val.y, Q)
        cover = (val.y < m(val.x)).float().mean(0)
    plateau.step(vl)
print(f"train {tl:.4f} val {vl:.4f} cover {cover.tolist()}")
