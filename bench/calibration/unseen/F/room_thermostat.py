"""A thermostat learns by REINFORCE to heat, to cool or to wait: many rooms at once, rewarded for pleasant minutes."""

import torch
from torch import nn
from torch.distributions import Categorical


class Rooms:
    """Each leaks at its own rate to the air outside, whose temperature drifts."""

    def __init__(self, count, minutes=40):
        self.minutes = minutes
        self.inside = 14 + 14 * torch.rand(count)
        self.outside = 5 + 30 * torch.rand(count)
        self.leak = 0.03 + 0.05 * torch.rand(count)
        self.trend = torch.zeros(count)

    def observe(self):
        return torch.stack([(self.inside - 21) / 5, (self.outside - 20) / 10, self.trend], dim=1)

    def turn(self, action):
        before = self.inside
        power = 1.8 * (action == 1).float() - 1.8 * (action == 2).float()
        self.inside = before + self.leak * (self.outside - before) + power + 0.05 * torch.randn_like(before)
        self.outside = self.outside + 0.2 * torch.randn_like(before)
        self.trend = self.inside - before
        return ((self.inside - 21).abs() < 1.0).float()


class Policy(nn.Module):
    def __init__(self, hidden=32, depth=2):
        super().__init__()
        sizes = [3] + [hidden] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.choice = nn.Linear(hidden, 3)

    def forward(self, seen):
        for layer in self.hidden:
            seen = torch.tanh(layer(seen))
        return Categorical(logits=self.choice(seen))


def rollout(policy, rooms):
    log_probs, rewards, entropy = [], [], []
    for _ in range(rooms.minutes):
        dist = policy(rooms.observe())
        action = dist.sample()
        log_probs.append(dist.log_prob(action))
        entropy.append(dist.entropy())
        rewards.append(rooms.turn(action))
    return torch.stack(log_probs), torch.stack(rewards), torch.stack(entropy)


def to_go(rewards, gamma=0.9):
    out = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[0])
    for minute in reversed(range(len(rewards))):
        running = rewards[minute] + gamma * running
        out[minute] = running
    return out


def update(policy, optimizer, rooms_per_batch=32, entropy_weight=0.005):
    log_probs, rewards, entropy = rollout(policy, Rooms(rooms_per_batch))
    value = to_go(rewards)
    baseline = value.mean(dim=1, keepdim=True)
    advantage = (value - baseline) / (value.std() + 1e-6)
    objective = (log_probs * advantage).mean() + entropy_weight * entropy.mean()
    optimizer.zero_grad()
    (-objective).backward()
    optimizer.step()


@torch.no_grad()
def pleasant_minutes(policy, count=500):
    with torch.random.fork_rng():
        torch.manual_seed(99)
        _, rewards, _ = rollout(policy, Rooms(count))
    return rewards.sum(dim=0).mean().item()


if __name__ == "__main__":
    torch.manual_seed(1)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for iteration in range(1, 181):
        update(policy, optimizer)
        if iteration % 30 == 0:
            print(f"iteration {iteration:3d}: of 40 minutes pleasant {pleasant_minutes(policy):.2f}")
