"""Actor and critic run shops: each evening one decides how many crates to order, the other what the stock is worth."""

from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.distributions import Categorical


@dataclass
class Settings:
    shops: int = 64
    days: int = 24
    updates: int = 160
    gamma: float = 0.9
    lr: float = 0.01
    entropy_bonus: float = 0.01
    max_norm: float = 1.0
    seed: int = 4


class Shops:
    """Crates sell for 3, cost 1, each costs 0.3 a night; at the weekend twice as many are asked for. Orders come next morning."""

    LARGEST_ORDER, ROOM = 5, 12

    def __init__(self, n):
        self.stock = torch.randint(0, 6, (n,)).float()
        self.day = torch.randint(0, 7, (n,))

    def observe(self):
        weekday = nn.functional.one_hot(self.day, 7).float()
        return torch.cat([self.stock[:, None] / self.ROOM, weekday], dim=1)

    def step(self, order):
        self.stock = (self.stock + order).clamp(max=self.ROOM)
        self.day = (self.day + 1) % 7
        demand = torch.poisson(torch.where(self.day >= 5, 4.0, 1.5))
        sold = torch.minimum(self.stock, demand)
        self.stock = self.stock - sold
        return 3 * sold - order - 0.3 * self.stock


class Manager(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(8, hidden), nn.Tanh(), nn.Linear(hidden, Shops.LARGEST_ORDER + 1))
        self.critic = nn.Sequential(nn.Linear(8, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def policy(self, obs):
        return Categorical(logits=self.actor(obs))

    def value(self, obs):
        return self.critic(obs).squeeze(-1)


class A2C:
    def __init__(self, cfg):
        self.cfg = cfg
        self.manager = Manager()
        self.optimizer = torch.optim.Adam(self.manager.parameters(), lr=cfg.lr)

    def collect(self):
        shops = Shops(self.cfg.shops)
        observations, actions, profits = [], [], []
        for _ in range(self.cfg.days):
            obs = shops.observe()
            with torch.no_grad():
                action = self.manager.policy(obs).sample()
            observations.append(obs)
            actions.append(action)
            profits.append(shops.step(action))
        return torch.stack(observations), torch.stack(actions), torch.stack(profits), shops.observe()

    @torch.no_grad()
    def bootstrap(self, profits, last_obs):
        running = self.manager.value(last_obs)
        returns = torch.empty_like(profits)
        for day in reversed(range(len(profits))):
            running = profits[day] / 10 + self.cfg.gamma * running
            returns[day] = running
        return returns

    def update(self):
        observations, actions, profits, last_obs = self.collect()
        returns = self.bootstrap(profits, last_obs)
        values = self.manager.value(observations)
        advantage = (returns - values).detach()
        advantage = (advantage - advantage.mean()) / advantage.std()
        policy = self.manager.policy(observations)
        actor_loss = -(policy.log_prob(actions) * advantage).mean()
        critic_loss = nn.functional.mse_loss(values, returns)
        loss = actor_loss + 0.5 * critic_loss - self.cfg.entropy_bonus * policy.entropy().mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.manager.parameters(), self.cfg.max_norm)
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def profit_a_day(self, n=400, days=28):
        shops = Shops(n)
        return sum(shops.step(self.manager.policy(shops.observe()).sample()).mean().item() for _ in range(days)) / days


if __name__ == "__main__":
    settings = Settings()
    torch.manual_seed(settings.seed)
    agent = A2C(settings)
    for update in range(1, settings.updates + 1):
        loss = agent.update()
        if update % 20 == 0:
            print(f"update {update:3d} loss {loss:+.3f} profit a day {agent.profit_a_day():.3f}")
