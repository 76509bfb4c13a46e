"""Weights masked for an order: found out where two places see each other all the same; and what is drawn and frozen."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from patients import quickly_recorded, told
from torchdx.exam import examine

MADE = """
import torch
from torch import nn

torch.manual_seed(0)

class Masked(nn.Linear):
    def __init__(self, mask):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float())

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.mask, self.bias)

class Step(nn.Module):
    def __init__(self):
        super().__init__()
        place, unit = torch.arange(4), torch.arange(12) % 3
        first, last = Masked(unit[:, None] >= place), Masked(place.repeat(2)[:, None] > unit)
        self.net = nn.Sequential(first, nn.Tanh(), MIDDLE, nn.Tanh(), last)

    def forward(self, x):
        shift, scale = self.net(x).chunk(2, 1)
        return (x - shift).flip(1) * torch.exp(-scale.flip(1)), scale.sum(1)

steps = nn.ModuleList(Step() for _ in range(2))
optimizer = torch.optim.Adam(steps.parameters(), lr=0.003)
data = torch.randn(256, 4).cumsum(1)
for i in range(40):
    x, loss = data[i % 4 * 64 : i % 4 * 64 + 64], 0.0
    for step in steps:
        x, scale = step(x)
        loss = loss + scale.mean()
    loss = loss + 0.5 * x.square().sum(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
PICTURES = """
import torch
from torch import nn

torch.manual_seed(0)

class Masked(nn.Conv2d):
    def __init__(self, own, *sizes):
        super().__init__(*sizes, padding=1)
        mask = torch.ones(3, 3)
        mask[1, 1 + own :] = 0
        BELOW
        self.register_buffer("mask", mask[None, None])

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight * self.mask, self.bias, padding=1)

model = nn.Sequential(Masked(False, 1, 8, 3), nn.ReLU(), Masked(True, 8, 1, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
pictures = (torch.randn(64, 1, 6, 6).cumsum(2).cumsum(3) > 0).float()
for _ in range(30):
    optimizer.zero_grad()
    nn.functional.binary_cross_entropy_with_logits(model(pictures), pictures).backward()
    optimizer.step()
"""
WORDS = """
import torch
from torch import nn

torch.manual_seed(0)
words, head = nn.Embedding(50, 8), nn.Linear(8, 2)
model = nn.Sequential(words, nn.Flatten(), nn.Linear(32, 2))
FREEZE
optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
texts = torch.randint(0, 50, (200, 4))
for i in range(40):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(texts), (texts[:, 0] > 25).long()).backward()
    optimizer.step()
    FOLLOW
"""
CASES = [
    (MADE.replace("MIDDLE", "nn.Linear(12, 12)"), "future-leak"),
    (MADE.replace("MIDDLE", "Masked(unit[:, None] >= unit)"), None),
    (PICTURES.replace("BELOW", ""), "future-leak"),
    (PICTURES.replace("BELOW", "mask[2:] = 0"), None),
    (WORDS.replace("FREEZE", "words.requires_grad_(False)").replace("FOLLOW", ""), "frozen-random-weights"),
    (WORDS.replace("FREEZE", "words.requires_grad_(False)").replace("FOLLOW", "words.weight.data.mul_(0.99)"), None),
    (WORDS.replace("FREEZE", "words.weight.data.fill_(1.0); words.requires_grad_(False)").replace("FOLLOW", ""), None),
]


@pytest.mark.parametrize(("body", "rule"), CASES)
def test_a_place_sees_only_what_comes_before_it_and_a_drawn_table_learns(
    body: str, rule: str | None, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(dedent(body))
    diagnosis = examine(None, quickly_recorded(script, tmp_path / "record"))
    found = {finding.rule for finding in diagnosis.all_findings()} & {"future-leak", "frozen-random-weights"}
    assert found == ({rule} if rule else set()), told(diagnosis)
