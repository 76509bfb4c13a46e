"""A bare `os.fork` in the midst of training: both go on, and the child's status comes back."""

import os
import sys

import torch

torch.set_num_threads(1)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(who: str) -> None:
    for step in range(3):
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
        print(who, step, flush=True)


train("before")
child = os.fork()
if child == 0:
    train("child")
    sys.exit(8)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
train("parent")
