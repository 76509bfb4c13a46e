# env: PYTHONPATH=likesite
"""The user's own sitecustomize runs, as itself, and can be imported."""

import sys

import sitecustomize
import torch

print(sitecustomize.__name__, sitecustomize.__spec__.name, sitecustomize.__file__ == sitecustomize.__spec__.origin)
print(sys.modules["sitecustomize"] is sitecustomize, sitecustomize.SEEN, sys.path[:2])
torch.nn.Linear(1, 1)(torch.ones(1, 1)).backward()
