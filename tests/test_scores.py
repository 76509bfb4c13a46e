"""Losses that a program works out by hand in its evaluations: seen, and judged by which way its source turns them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from torchdx.exam import examine
from torchdx.record import Record
from torchdx.source import Program

PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
x, noise = torch.randn(520, 6), torch.randn(520, 1)
y = x[:, :1] + 0.7 * noise
net = nn.Sequential(nn.Linear(6, 128), nn.Tanh(), nn.Linear(128, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
plain = torch.Tensor.item

def errors(net, x, y):
    return net(x) - y

for epoch in range(240):
    net.train()
    assert torch.Tensor.item is plain
    missed = errors(net, x[:ROWS], y[:ROWS])
    loss = (missed * missed).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 12 == 0:
        net.eval()
        with torch.no_grad():
            held_out = SCORE
assert "item" not in vars(torch.Tensor)
"""


@pytest.mark.parametrize(
    ("rows", "score", "told"),
    [
        (20, "((net(x[20:]) - y[20:]) ** 2).mean().item()", True),
        (20, "float((net(x[20:]) - y[20:]).square().mean())", True),
        (20, "-torch.distributions.Normal(net(x[20:]), 0.7).log_prob(y[20:]).mean().item()", True),
        (20, "net(x[20:]).std().item()", False),
        (400, "((net(x[400:]) - y[400:]) ** 2).mean().item()", False),
    ],
)
def test_a_loss_by_hand_that_turns_is_told(tmp_path: Path, rows: int, score: str, told: bool) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.replace("ROWS", str(rows)).replace("SCORE", score) + "net.train()\n")
    script.write_text(script.read_text().replace('assert "item"', 'net.train()\nassert "item"'))
    command = [sys.executable, "-m", "torchdx", "run", "--record", str(tmp_path / "record"), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "overfitting" in done.stdout + done.stderr, done.stderr
    record = Record.read(tmp_path / "record")
    assert record.run.get("status") == 0
    assert not record.process.all("disarmed")
    diagnosis = examine(Program.around(script), record)
    assert ("overfitting" in {finding.rule for finding in diagnosis.findings}) is told
    assert "nan" not in diagnosis.verdict.why
