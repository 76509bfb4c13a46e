"""A forager on a ring of bushes learns by policy gradient, with a learned baseline, to walk to the ripe one."""

import torch
import torch.nn as nn
from torch.distributions import Categorical

BUSHES, HORIZON, CREW = 11, 18, 48
GAMMA, VALUE_SHARE, ENTROPY_SHARE = 0.9, 0.5, 0.02


class Ring:
    """CREW foragers at once; a step left, none, or right; a berry for standing at the ripe bush, which then moves."""

    def reset(self):
        self.place = torch.randint(0, BUSHES, (CREW,))
        self.ripe = torch.randint(0, BUSHES, (CREW,))
        return self.view()

    def view(self):
        return nn.functional.one_hot((self.ripe - self.place) % BUSHES, BUSHES).float()

    def step(self, action):
        self.place = (self.place + action - 1) % BUSHES
        found = self.place == self.ripe
        self.ripe = torch.where(found, (self.ripe + torch.randint(1, BUSHES, (CREW,))) % BUSHES, self.ripe)
        return self.view(), found.float()


class Forager(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(BUSHES, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.policy = nn.Linear(hidden, 3)
        self.value = nn.Linear(hidden, 1)

    def forward(self, view):
        h = self.body(view)
        return Categorical(logits=self.policy(h)), self.value(h).squeeze(-1)


def play(agent, ring):
    view, steps = ring.reset(), []
    for _ in range(HORIZON):
        choice, value = agent(view)
        action = choice.sample()
        view, reward = ring.step(action)
        steps.append((choice.log_prob(action), value, choice.entropy(), reward))
    return [torch.stack(column) for column in zip(*steps)]


def discounted(rewards):
    out, ahead = torch.zeros_like(rewards), torch.zeros(CREW)
    for t in reversed(range(HORIZON)):
        ahead = rewards[t] + GAMMA * ahead
        out[t] = ahead
    return out


def harvest(agent, ring, days=8):
    """Mean berries a day when the likeliest action is taken."""
    agent.eval()
    berries = 0.0
    with torch.no_grad():
        for _ in range(days):
            view = ring.reset()
            for _ in range(HORIZON):
                view, reward = ring.step(agent(view)[0].probs.argmax(-1))
                berries += reward.mean().item()
    agent.train()
    return berries / days


def learn(agent, ring, days=240):
    optimizer = torch.optim.Adam(agent.parameters(), lr=6e-3)
    for day in range(1, days + 1):
        log_probs, values, entropies, rewards = play(agent, ring)
        returns = discounted(rewards)
        advantages = returns - values.detach()
        policy_loss = -(log_probs * advantages).mean()
        value_loss = (values - returns).pow(2).mean()
        loss = policy_loss + VALUE_SHARE * value_loss - ENTROPY_SHARE * entropies.mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), 1.0)
        optimizer.step()
        if day % 40 == 0:
            print(f"day {day}: berries sampled {rewards.sum(0).mean():.2f}, greedy {harvest(agent, ring, 2):.2f}")


if __name__ == "__main__":
    torch.manual_seed(23)
    agent, ring = Forager(), Ring()
    learn(agent, ring)
    print(f"berries a day: {harvest(agent, ring):.3f}")
