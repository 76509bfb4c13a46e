"""`sys.exit` with a number, after some training: the status is that number."""

import sys

import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
for _ in range(5):
    model.zero_grad()
    loss = model(torch.randn(8, 4)).pow(2).mean()
    loss.backward()
    with torch.no_grad():
        model.weight -= 0.1 * model.weight.grad
    print(f"{loss.item():.6f}")
sys.exit(73)
