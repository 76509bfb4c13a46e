"""`os._exit` in the midst of training: no flush, no atexit, and the status is the one given."""

import atexit
import os

import torch

atexit.register(print, "never printed")
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
optimizer = torch.optim.Adam(model.parameters())
for step in range(9):
    torch.nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.ones(8, dtype=torch.long)).backward()
    optimizer.step()
    print("step", step, flush=True)
    if step == 4:
        os._exit(19)
