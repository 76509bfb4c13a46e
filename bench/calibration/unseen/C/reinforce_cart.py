"""REINFORCE on many carts at once: push each to the left or to the right and keep it on its track."""

import torch
from torch import nn, optim
from torch.distributions import Categorical

torch.manual_seed(13)
CARTS, STEPS, UPDATES, GAMMA = 32, 50, 110, 0.95


class Track:
    """Carts that a tilting track carries away from its middle, the faster the farther they are."""

    def reset(self, n):
        self.x = (torch.rand(n) - 0.5) * 0.6
        self.v = (torch.rand(n) - 0.5) * 0.3
        self.alive = torch.ones(n)
        return self.state()

    def state(self):
        return torch.stack([self.x, self.v * 3], dim=1)

    def step(self, action):
        push = action.float() * 2 - 1
        self.v = self.v + 0.05 * push + 0.06 * self.x + 0.01 * torch.randn(len(self.x))
        self.x = self.x + self.v * 0.5
        self.alive = self.alive * (self.x.abs() < 1).float()
        self.x, self.v = self.x.clamp(-1.5, 1.5), self.v.clamp(-1, 1)
        return self.state(), self.alive.clone()


def make_policy():
    return nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))


def rollout(policy, track, carts):
    """Log-probabilities and rewards of each step, and whether the cart was on its track before it."""
    state, on_track = track.reset(carts), torch.ones(carts)
    log_probs, rewards, masks = [], [], []
    for _ in range(STEPS):
        dist = Categorical(logits=policy(state))
        action = dist.sample()
        log_probs.append(dist.log_prob(action))
        masks.append(on_track)
        state, on_track = track.step(action)
        rewards.append(on_track)
    return log_probs, torch.stack(rewards), torch.stack(masks)


def returns_to_go(rewards):
    out, running = torch.zeros_like(rewards), torch.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        running = rewards[t] + GAMMA * running
        out[t] = running
    return out


def time_on_track(policy):
    with torch.no_grad():
        _, rewards, _ = rollout(policy, Track(), 200)
    return rewards.sum(0).mean().item()


policy = make_policy()
optimizer = optim.Adam(policy.parameters(), lr=1e-2)
for update in range(1, UPDATES + 1):
    log_probs, rewards, masks = rollout(policy, Track(), CARTS)
    gains = returns_to_go(rewards)
    advantage = (gains - gains.mean(1, keepdim=True)) / (gains.std() + 1e-6)
    loss = -(torch.stack(log_probs) * advantage * masks).sum() / masks.sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if update % 10 == 0:
        print(f"update {update:3d}: steps on the track {time_on_track(policy):.2f}")
