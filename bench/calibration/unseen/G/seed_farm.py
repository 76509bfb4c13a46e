"""When to sow and when to sell: a farm keeps its seed for the next season or takes it to market (REINFORCE)."""

import torch
import torch.nn as nn
import torch.optim as optim
from torch.distributions import Categorical

SEASONS, FARMS = 10, 64
SELL, SOW = 0, 1


class Farms:
    """Many farms side by side. What is sown grows by a third unless it hails; half a barn can be sold at once."""

    def __init__(self, n):
        self.n = n

    def reset(self):
        self.barn = 1 + torch.rand(self.n)
        self.season = 0
        return self.look()

    def look(self):
        left = torch.full((self.n,), 1 - self.season / SEASONS)
        return torch.stack([self.barn.log(), left, left**2], dim=1)

    def step(self, action):
        hail = torch.rand(self.n) < 0.1
        sold = torch.where(action == SELL, 0.5 * self.barn, torch.zeros(self.n))
        grown = torch.where(hail, 1.0, 1.33)
        self.barn = torch.where(action == SOW, self.barn * grown, self.barn - sold)
        self.season += 1
        return self.look(), sold, self.season == SEASONS


class Farmer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 32)
        self.choose = nn.Linear(32, 2)

    def forward(self, seen):
        return Categorical(logits=self.choose(torch.tanh(self.inner(seen))))


def play(farms, farmer):
    seen, done = farms.reset(), False
    log_probs, rewards, entropies = [], [], []
    while not done:
        choice = farmer(seen)
        action = choice.sample()
        log_probs.append(choice.log_prob(action))
        entropies.append(choice.entropy())
        seen, reward, done = farms.step(action)
        rewards.append(reward)
    return torch.stack(log_probs), torch.stack(rewards), torch.stack(entropies)


def to_go(rewards):
    """What is still to come from each season on: (seasons, farms)."""
    return rewards.flip(0).cumsum(0).flip(0)


def learn(farmer, optimizer, rounds):
    farms = Farms(FARMS)
    for i in range(rounds):
        log_probs, rewards, entropies = play(farms, farmer)
        gains = to_go(rewards)
        advantage = gains - gains.mean(dim=1, keepdim=True)
        advantage = advantage / (advantage.std() + 1e-6)
        loss = -(log_probs * advantage).mean() - 0.005 * entropies.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (i + 1) % 60 == 0:
            print(f"round {i + 1}: mean income {yearly(farmer):.3f}")


@torch.no_grad()
def yearly(farmer, n=2000):
    _, rewards, _ = play(Farms(n), farmer)
    return rewards.sum(0).mean().item()


if __name__ == "__main__":
    torch.manual_seed(9)
    farmer = Farmer()
    learn(farmer, optim.Adam(farmer.parameters(), lr=1e-2), rounds=360)
    print(f"mean income {yearly(farmer, n=10000):.3f}")
