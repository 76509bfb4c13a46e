# copied to: a fólder with spaces/träin 网络.py
# args: "a b" é
"""A script on a path with spaces and letters beyond ASCII."""

import sys
from pathlib import Path

import torch

print(Path(__file__).name, sys.argv[1:], [Path(p).name for p in sys.path[:1]])
model = torch.nn.Linear(1, 1)
model(torch.ones(1, 1)).backward()
raise ValueError(f"in {Path(__file__).name}")
