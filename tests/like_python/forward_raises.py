# drop: torch frames
"""An exception inside `forward`, three modules deep; torch's own frames may differ, since it runs hooks."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        if y.shape[0] == 3:
            raise ValueError("a batch of three")
        return y.relu_()


model = nn.Sequential(Block(), nn.Sequential(Block(), nn.Linear(4, 1)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for size in (8, 8, 8, 3):
    optimizer.zero_grad()
    model(torch.randn(size, 4)).mean().backward()
    optimizer.step()
