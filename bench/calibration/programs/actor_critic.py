"""Advantage actor-critic on a pole that must be kept upright (a cart-pole written out)."""

import math
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical

GAMMA = 0.98


class Pole:
    """Sixteen poles side by side; a push to the left or right each step, and 1 for every step upright."""

    def __init__(self, n=16):
        self.n = n

    def reset(self):
        self.angle = 0.1 * (torch.rand(self.n) - 0.5)
        self.speed = 0.1 * (torch.rand(self.n) - 0.5)
        self.alive = torch.ones(self.n)
        return self.state()

    def state(self):
        return torch.stack([5 * self.angle, 2 * self.speed], dim=1)

    def step(self, action):
        push = 2.0 * action.float() - 1.0
        self.speed = self.speed + 0.05 * (9.8 * self.angle.sin() + 4.0 * push) + 0.02 * torch.randn(self.n)
        self.angle = self.angle + 0.05 * self.speed
        self.alive = self.alive * (self.angle.abs() < 0.5).float()
        return self.state(), self.alive.clone()


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(2, 64)
        self.actor = nn.Linear(64, 2)
        self.critic = nn.Linear(64, 1)

    def forward(self, x):
        x = torch.tanh(self.shared(x))
        return self.actor(x), self.critic(x).squeeze(-1)


def rollout(env, net, horizon):
    state, alive = env.reset(), torch.ones(env.n)
    log_probs, values, rewards, masks, entropies = [], [], [], [], []
    for _ in range(horizon):
        logits, value = net(state)
        dist = Categorical(logits=logits)
        action = dist.sample()
        masks.append(alive)
        state, alive = env.step(action)
        log_probs.append(dist.log_prob(action))
        entropies.append(dist.entropy())
        values.append(value)
        rewards.append(alive)
        if not alive.any():
            break
    return tuple(torch.stack(x) for x in (log_probs, values, rewards, masks, entropies))


def returns_of(rewards):
    total, out = torch.zeros(rewards.shape[1]), []
    for r in reversed(rewards):
        total = r + GAMMA * total
        out.insert(0, total)
    return torch.stack(out)


def main():
    random.seed(0)
    torch.manual_seed(0)
    env, net = Pole(), ActorCritic()
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    history = []
    for episode in range(120):
        log_probs, values, rewards, masks, entropies = rollout(env, net, horizon=60)
        returns = returns_of(rewards) / 20.0
        advantage = (returns - values).detach()
        n = masks.sum()
        policy_loss = -(log_probs * advantage * masks).sum() / n
        value_loss = (F.smooth_l1_loss(values, returns, reduction="none") * masks).sum() / n
        loss = policy_loss + 0.5 * value_loss - 0.01 * (entropies * masks).sum() / n
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        history.append(rewards.sum(0).mean().item())
        if episode % 20 == 19:
            last = history[-20:]
            print(f"episode {episode + 1}: loss {loss.item():.4f} mean steps upright {math.fsum(last) / len(last):.2f}")


if __name__ == "__main__":
    main()
