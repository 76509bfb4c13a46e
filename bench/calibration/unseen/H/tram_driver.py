"""A tram driver learns by REINFORCE to brake, roll or speed up, so that the tram keeps to the speed of the signs."""

import torch
from torch import nn
from torch.distributions import Categorical

TRAMS, SECONDS, UPDATES, GAMMA = 48, 30, 180, 0.9
PUSH = torch.tensor([-1.0, 0.0, 1.0])


class Line:
    """Many trams at once. Each sees its speed, the speed on the sign, and how steep the track is."""

    def __init__(self, trams):
        self.speed = 2 * torch.randn(trams)
        self.sign = 2 * torch.randn(trams)
        self.slope = 0.3 * torch.randn(trams)

    def seen(self):
        return torch.stack([self.speed, self.sign, self.slope], dim=1)

    def drive(self, action):
        self.speed = 0.95 * self.speed + 0.7 * PUSH[action] - self.slope + 0.05 * torch.randn_like(self.speed)
        changed = torch.rand_like(self.sign) < 0.05
        self.sign = torch.where(changed, 2 * torch.randn_like(self.sign), self.sign)
        return torch.exp(-((self.speed - self.sign) ** 2))


def discounted(rewards):
    """What each second and those after it bring, discounted: [second, tram]."""
    total, out = torch.zeros_like(rewards[0]), []
    for reward in reversed(rewards):
        total = reward + GAMMA * total
        out.insert(0, total)
    return torch.stack(out)


def shift(policy):
    line, log_probs, rewards, spread = Line(TRAMS), [], [], []
    for _ in range(SECONDS):
        choice = Categorical(logits=policy(line.seen()))
        action = choice.sample()
        log_probs.append(choice.log_prob(action))
        spread.append(choice.entropy())
        rewards.append(line.drive(action))
    return torch.stack(log_probs), rewards, torch.stack(spread)


@torch.no_grad()
def comfort(policy, trams=400):
    """Mean reward of a second (1 is the speed of the sign, all the time), always with the likeliest action."""
    line, total = Line(trams), 0.0
    for _ in range(SECONDS):
        total += line.drive(policy(line.seen()).argmax(dim=1)).mean().item()
    return total / SECONDS


def learn():
    torch.manual_seed(14)
    policy = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 3))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for update in range(1, UPDATES + 1):
        log_probs, rewards, entropy = shift(policy)
        returns = discounted(rewards)
        advantage = returns - returns.mean(dim=1, keepdim=True)
        advantage = advantage / (advantage.std() + 1e-6)
        loss = -(log_probs * advantage).mean() - 0.01 * entropy.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 30 == 0:
            print(f"update {update}: comfort {comfort(policy):.4f}")
    print(f"comfort {comfort(policy):.4f}")


if __name__ == "__main__":
    learn()
