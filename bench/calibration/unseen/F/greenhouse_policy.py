"""A greenhouse learns when to heat and when to vent (REINFORCE with a baseline for each hour, many houses at once)."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.distributions import Categorical


@dataclass
class Config:
    houses: int = 48
    hours: int = 24
    updates: int = 160
    gamma: float = 0.9
    lr: float = 0.01
    lr_decay: float = 0.99
    entropy: float = 0.01
    seed: int = 5


class Greenhouses:
    """The pipes warm up slowly after the heating is switched on; the day brings sun. Comfort is within two degrees."""

    def __init__(self, count, generator):
        self.count, self.g = count, generator

    def reset(self):
        self.air = 4 * torch.randn(self.count, generator=self.g)
        self.pipe = torch.zeros(self.count)
        self.hour = torch.randint(0, 24, (self.count,), generator=self.g)
        return self.observe()

    def observe(self):
        phase = self.hour * (2 * torch.pi / 24)
        return torch.stack([self.air / 4, self.pipe, phase.sin(), phase.cos()], dim=1)

    def step(self, action):
        """0: nothing, 1: heat, 2: vent."""
        sun = torch.sin((self.hour - 6) * (2 * torch.pi / 24))
        self.pipe = 0.6 * self.pipe + (action == 1).float()
        vented = (action == 2).float()
        self.air = 0.9 * self.air + 1.2 * sun - 1.0 + 1.1 * self.pipe - 2.0 * vented
        self.air = self.air + 0.3 * torch.randn(self.count, generator=self.g)
        self.hour = (self.hour + 1) % 24
        reward = (self.air.abs() < 2).float() - 0.1 * (action != 0).float()
        return self.observe(), reward


class Gardener(nn.Module):
    def __init__(self, n_obs=4, n_actions=3, width=32):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_obs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.choice = nn.Linear(width, n_actions)

    def forward(self, obs):
        h = self.body(obs)
        return Categorical(logits=self.choice(h))


def play(policy, env, hours):
    obs, log_probs, rewards, entropies = env.reset(), [], [], []
    for _ in range(hours):
        dist = policy(obs)
        action = dist.sample()
        log_probs.append(dist.log_prob(action))
        entropies.append(dist.entropy())
        obs, reward = env.step(action)
        rewards.append(reward)
    return torch.stack(log_probs), torch.stack(rewards), torch.stack(entropies)


def returns_to_go(rewards, gamma):
    out = torch.zeros_like(rewards)
    ahead = torch.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        ahead = rewards[t] + gamma * ahead
        out[t] = ahead
    return out


def main(cfg):
    torch.manual_seed(cfg.seed)
    env = Greenhouses(cfg.houses, torch.Generator().manual_seed(cfg.seed))
    policy = Gardener()
    optimizer = torch.optim.Adam(policy.parameters(), lr=cfg.lr)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=cfg.lr_decay)
    for update in range(cfg.updates):
        log_probs, rewards, entropies = play(policy, env, cfg.hours)
        gains = returns_to_go(rewards, cfg.gamma)
        advantage = gains - gains.mean(dim=1, keepdim=True)
        advantage = advantage / (advantage.std() + 1e-6)
        loss = -(log_probs * advantage).mean() - cfg.entropy * entropies.mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if update % 20 == 19:
            print(f"update {update + 1}: mean reward of a day {rewards.sum(0).mean():.2f}")
    unseen = Greenhouses(400, torch.Generator().manual_seed(999))
    with torch.no_grad():
        _, rewards, _ = play(policy, unseen, cfg.hours)
    print(f"held-out houses, reward of a day: {rewards.sum(0).mean():.3f}")


if __name__ == "__main__":
    main(Config())
