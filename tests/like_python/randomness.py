"""Random numbers: python's, numpy's and torch's generators stand where they would after the same training."""

import random

import numpy as np
import torch

random.seed(1), np.random.seed(1), torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(), torch.nn.Linear(4, 2))
optimizer = torch.optim.Adam(model.parameters())
for _ in range(12):
    optimizer.zero_grad()
    model(torch.randn(4, 3)).pow(2).mean().backward()
    optimizer.step()
print(random.random(), np.random.rand(), torch.rand(1).item(), model[0].weight.double().sum().item())
