"""Derivatives in a loss, with a graph and without."""

from __future__ import annotations

import pytest

from torchdx.exam import examine
from torchdx.source import Program

PENALTY = """
import torch
from torch import nn

class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.body(x)

def gradient_penalty(critic, real, fake):
    mix = torch.rand(len(real), 1)
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    score = critic(between)
    gradients = torch.autograd.grad(
        outputs=score, inputs=between, grad_outputs=torch.ones_like(score), {given}
    )[0]
    return ((gradients.norm(2, dim=1) - 1) ** 2).mean()

critic = Critic()
opt = torch.optim.Adam(critic.parameters())
for _ in range(100):
    real, fake = torch.randn(64, 2), torch.rand(64, 2)
    loss = critic(fake).mean() - critic(real).mean() + 10 * gradient_penalty(critic, real, fake)
    opt.zero_grad()
    loss.backward()
    opt.step()
"""

ATTACK = """
import torch
import torch.nn.functional as F
from torch import nn

net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
opt = torch.optim.Adam(net.parameters())
for _ in range(100):
    x, y = torch.randn(64, 4), torch.randint(3, (64,))
    x.requires_grad_()
    slope = torch.autograd.grad(F.cross_entropy(net(x), y), x)[0]
    near = (x + 0.1 * slope.sign()).detach()
    loss = F.cross_entropy(net(near), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
"""

WEIGHED = """
import torch
import torch.nn.functional as F
from torch import nn

net = nn.Linear(4, 3)
opt = torch.optim.Adam(net.parameters())
for _ in range(100):
    x, y = torch.randn(64, 4), torch.randint(3, (64,))
    out = net(x)
    fit, small = F.cross_entropy(out, y), out.square().mean()
    weight = torch.autograd.grad(fit, net.weight, retain_graph=True)[0].norm()
    loss = fit + weight * small
    opt.zero_grad()
    loss.backward()
    opt.step()
"""


def told(source: str) -> list[str]:
    diagnosis = examine(Program.of({"train.py": source}), None)
    return [finding.message for finding in diagnosis.findings if finding.rule == "graph-cut"]


@pytest.mark.parametrize("given", ["retain_graph=True", "create_graph=False, retain_graph=True"])
def test_a_penalty_on_a_derivative_without_a_graph_is_told(given: str) -> None:
    (message,) = told(PENALTY.replace("{given}", given))
    assert "makes no graph" in message


@pytest.mark.parametrize("source", [PENALTY.replace("{given}", "create_graph=True"), ATTACK, WEIGHED])
def test_derivatives_that_are_right_are_not(source: str) -> None:
    assert not told(source)
