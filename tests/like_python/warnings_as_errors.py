# run: -W error::UserWarning -X dev {script}
"""Python's `-W error` and `-X dev`: no warning comes from a watcher, and none is lost."""

import sys

import torch

print(sys.warnoptions, sys.flags.dev_mode)
model = torch.nn.Linear(3, 1)
for _ in range(3):
    model.zero_grad()
    model(torch.ones(2, 3)).mean().backward()
torch.nn.functional.mse_loss(model(torch.ones(4, 3)), torch.zeros(4))
