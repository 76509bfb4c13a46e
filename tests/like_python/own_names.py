# env: PYTHONPATH=likenames
"""Modules of the user's own that have common names (record, watch, launch, report) are the ones imported."""

import sys

import torch

model = torch.nn.Linear(1, 1)
model(torch.ones(1, 1)).backward()
import record  # noqa: E402
import watch  # noqa: E402

print(record.__name__, watch.watch(), "launch" in sys.modules, "report" in sys.modules, "rules" in sys.modules)
