"""Runs in which no optimizer steps: an error where there were gradients, less where nothing was done."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from patients import quickly_recorded, told
from torchdx.exam import examine

BEGIN = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, y = torch.randn(64, 4), torch.randn(64, 1)
"""
NEVER = """
for i in range(40):
    nn.functional.mse_loss(model(x), y).backward()
    if i + 1 % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
"""
ONLY_USED = """
with torch.no_grad():
    print(model(x).mean().item())
"""
USED_OFTEN = """
for _ in range(20):
    with torch.no_grad():
        print(model(x).mean().item())
"""
LOADED = (
    """
model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})
"""
    + USED_OFTEN
)
SEARCHED = """
for _ in range(20):
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)
        print(model(x).mean().item())
"""
BY_HAND = """
for i in range(40):
    nn.functional.mse_loss(model(x), y).backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
            p.grad = None
"""


CASES = [(NEVER, ["error"]), (ONLY_USED, ["note"]), (USED_OFTEN, ["warning"])]
CASES += [(LOADED, []), (SEARCHED, []), (BY_HAND, [])]


@pytest.mark.parametrize(("body", "severities"), CASES)
def test_a_run_without_a_step(body: str, severities: list[str], tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(dedent(BEGIN + body))
    diagnosis = examine(None, quickly_recorded(script, tmp_path / "record"))
    found = [finding for finding in diagnosis.all_findings() if finding.rule == "missing-step"]
    assert [finding.severity for finding in found] == severities, told(diagnosis)
    assert all(finding.site and finding.site.line == 7 for finding in found)
