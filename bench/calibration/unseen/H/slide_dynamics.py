"""A model of a motorised slide for a planner: the next state, and how sure that is, from this state and the push.

Two probabilistic networks are trained, each on its own batches, and their mixture is what the planner gets.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Setup:
    rows: int = 5000
    holdout: int = 800
    width: int = 48
    members: int = 2
    lr: float = 4e-3
    batch: int = 100
    epochs: int = 14
    seed: int = 31


def log_of_rig(rows, gen):
    """State (position in mm, speed in mm/s), push (N) and a brake that was never pulled; then the change of state."""
    position = 800 * torch.rand(rows, generator=gen) - 400
    speed = 120 * torch.randn(rows, generator=gen)
    push = 6 * torch.rand(rows, generator=gen) - 3
    brake = torch.zeros(rows)
    friction = 0.12 * speed + 25 * torch.tanh(speed / 10)
    change_speed = 40 * push - 0.15 * position - friction + 30 * torch.sin(position / 60)
    jitter = 3 + 12 * torch.sigmoid((position.abs() - 250) / 30)
    change_speed = change_speed + jitter * torch.randn(rows, generator=gen)
    change_position = 0.1 * speed + 0.05 * change_speed + torch.randn(rows, generator=gen)
    return torch.stack([position, speed, push, brake], 1), torch.stack([change_position, change_speed], 1)


class Scale(nn.Module):
    """Subtracts the mean of the training rows and divides by their standard deviation."""

    def __init__(self, table):
        super().__init__()
        self.register_buffer("mean", table.mean(0))
        self.register_buffer("std", table.std(0).clamp(min=1e-6))

    def forward(self, rows):
        return (rows - self.mean) / self.std


class Dynamics(nn.Module):
    def __init__(self, scale, width):
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(nn.Linear(4, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.mean = nn.Linear(width, 2)
        self.log_std = nn.Linear(width, 2)

    def forward(self, rows):
        h = self.body(self.scale(rows))
        return self.mean(h), self.log_std(h).clamp(-5.0, 2.0)


def mixture_nll(members, rows, change):
    """Negative log-likelihood under the equal mixture of the members."""
    logs = []
    with torch.no_grad():
        for member in members:
            member.eval()
            mean, log_std = member(rows)
            logs.append(torch.distributions.Normal(mean, log_std.exp(), validate_args=False).log_prob(change).sum(1))
    return (math.log(len(members)) - torch.stack(logs).logsumexp(0)).mean().item()


def train_ensemble(members, rows, change, val, setup):
    nll = nn.GaussianNLLLoss()
    optimizers = [torch.optim.AdamW(member.parameters(), lr=setup.lr) for member in members]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, setup.epochs) for o in optimizers]
    for epoch in range(setup.epochs):
        for member, optimizer, schedule in zip(members, optimizers, schedules):
            member.train()
            for picked in torch.randperm(len(rows)).split(setup.batch):
                mean, log_std = member(rows[picked])
                loss = nll(mean, change[picked], var=torch.exp(2 * log_std))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
        if epoch % 3 == 1:
            print(f"epoch {epoch}: last loss {loss.item():.3f} val nll {mixture_nll(members, *val):.3f}")


def main(setup):
    torch.manual_seed(setup.seed)
    gen = torch.Generator().manual_seed(setup.seed)
    rows, change = log_of_rig(setup.rows, gen)
    val_rows, val_change = log_of_rig(setup.holdout, gen)
    test_rows, test_change = log_of_rig(setup.holdout, gen)
    scale_in, scale_out = Scale(rows), Scale(change)
    members = [Dynamics(scale_in, setup.width) for _ in range(setup.members)]
    train_ensemble(members, rows, scale_out(change), (val_rows, scale_out(val_change)), setup)
    print(f"test nll of the mixture: {mixture_nll(members, test_rows, scale_out(test_change)):.4f}")


if __name__ == "__main__":
    main(Setup())
