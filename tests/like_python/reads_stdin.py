# stdin: 3 steps, please
"""Standard input reaches the script, whole."""

import sys

import torch

count = int(sys.stdin.read(1))
model = torch.nn.Linear(1, 1)
for step in range(count):
    model(torch.ones(1, 1)).sum().backward()
    print(step, sys.stdin.isatty(), sys.stdout.isatty(), sys.stdout.encoding)
print(input())
