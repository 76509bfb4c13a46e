"""What the command line said, for tests that only listen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SICK = """\
import torch
import torch.nn.functional as F


def train(net, loader, opt):
    for x, y in loader:
        x = torch.ones(3)
        x.to("cuda")
        loss = F.cross_entropy(F.softmax(net(x), dim=1), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
"""
"""A program of which is told: TDX102 and TDX101 in line 8, TDX601 in line 9."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings of a report as JSON."""
        return list(json.loads(self.out)["findings"])

    @property
    def codes(self) -> list[str]:
        return [finding["code"] for finding in self.findings]


Told = Callable[..., Done]
