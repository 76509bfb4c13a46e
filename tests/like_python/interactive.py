# run: -i -q {script}
# stdin: model(torch.ones(1, 2)).shape\nundefined\nexit(6)\n
"""`-i`: the prompt comes after the script, with its names, and gives the status."""

import torch

model = torch.nn.Linear(2, 1)
model(torch.ones(1, 2)).sum().backward()
