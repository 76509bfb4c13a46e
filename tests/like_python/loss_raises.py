"""Losses given wrong shapes and types: no frame of anyone else's comes between the script and torch."""

import traceback

import torch
import torch.nn.functional as F
from torch.nn.functional import cross_entropy, mse_loss

logits = torch.nn.Linear(4, 3)(torch.ones(2, 4))
for attempt in (
    lambda: mse_loss(logits, torch.ones(5, 7)),
    lambda: F.nll_loss(logits, torch.tensor([0, 9])),
    lambda: F.binary_cross_entropy(logits, torch.ones(2, 2)),
    lambda: F.cross_entropy(logits),
    lambda: cross_entropy(logits, torch.tensor([0, 1]), no_such_word=1),
):
    try:
        attempt()
    except Exception:
        traceback.print_exc()
torch.optim.SGD([logits], lr=-1.0) if logits.is_leaf else cross_entropy(logits, torch.ones(3, dtype=torch.long))
