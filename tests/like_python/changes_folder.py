"""A script that changes its folder, and its environment, while it trains; files it writes come where it says."""

import os
import tempfile
from pathlib import Path

import torch

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    os.environ.clear()
    model = torch.nn.Linear(2, 2)
    for step in range(4):
        model(torch.ones(1, 2)).sum().backward()
        torch.save(model.state_dict(), f"step{step}.pt")
    print(sorted(path.name for path in Path().iterdir()))
    os.chdir("/")
print(Path.cwd())
