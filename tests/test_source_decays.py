"""Rates that a program lets fall by hand."""

from __future__ import annotations

import pytest

from torchdx.exam import examine
from torchdx.source import Program

OWN = """
import torch
from torch import nn

net = nn.Linear(4, 3)
lr = 0.1
for epoch in range(10):
    for x, y in zip(torch.randn(100, 16, 4), torch.randint(3, (100, 16))):
        net.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= lr * p.grad
        {each_batch}
    {each_epoch}
"""

GROUPS = """
import torch
from torch import nn

def train(net, loader, epochs):
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(epochs):
        for x, y in loader:
            opt.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            opt.step()
            {each_batch}
        {each_epoch}
"""

FALLS = "for group in opt.param_groups: group['lr'] *= 0.5"


def told(source: str, each_batch: str, each_epoch: str) -> bool:
    text = source.replace("{each_batch}", each_batch or "pass").replace("{each_epoch}", each_epoch or "pass")
    diagnosis = examine(Program.of({"train.py": text}), None)
    return any(finding.rule == "scheduler-at-wrong-cadence" for finding in diagnosis.findings)


@pytest.mark.parametrize(
    ("source", "statement"),
    [(OWN, "lr *= 0.9"), (OWN, "lr = 0.95 * lr"), (OWN, "lr /= 2"), (GROUPS, FALLS)],
)
def test_a_rate_that_falls_with_every_batch_is_told(source: str, statement: str) -> None:
    assert told(source, statement, "")
    assert not told(source, "", statement)


@pytest.mark.parametrize("statement", ["lr *= 0.9999", "lr = lr * 1.01", "if epoch == 5: lr *= 0.1", "momentum *= 0.9"])
def test_what_falls_slowly_or_on_a_condition_or_is_no_rate_is_not(statement: str) -> None:
    assert not told(OWN, statement, "")
