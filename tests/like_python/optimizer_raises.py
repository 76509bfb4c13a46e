"""Mistakes in calling optimizers, schedulers, loaders and `backward`: torch's own tracebacks, nothing more."""

import traceback

import torch
from torch.utils.data import DataLoader

model = torch.nn.Linear(4, 3)
sgd = torch.optim.SGD(model.parameters(), lr=0.1)
loss = model(torch.ones(2, 4)).sum()
loss.backward()
for attempt in (
    lambda: torch.optim.SGD(model.parameters(), lr=-1.0),
    lambda: torch.optim.Adam([]),
    lambda: torch.optim.lr_scheduler.StepLR(sgd),
    lambda: torch.optim.lr_scheduler.StepLR("sgd", 3),
    lambda: DataLoader([1, 2], batch_size=-1),
    lambda: next(iter(DataLoader([object()]))),
    lambda: loss.backward(),
    lambda: model(torch.ones(2, 4)).backward(),
    lambda: model.train("yes"),
    lambda: torch.ones(2).item(),
    lambda: model(torch.ones(2, 4)).numpy(),
    lambda: model.to("nowhere"),
    lambda: torch.nn.Linear("a", 3),
):
    try:
        attempt()
    except Exception:
        traceback.print_exc()
