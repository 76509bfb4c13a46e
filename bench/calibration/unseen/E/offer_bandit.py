"""Which of six offers is shown to which visitor? A contextual bandit, learned by policy gradient with a learned baseline."""

import torch
from torch import nn
from torch.distributions import Categorical


class Visitors:
    """Visitors have eight traits; each offer is taken with a chance that depends on them."""

    def __init__(self, offers=6, traits=8, seed=40):
        g = torch.Generator().manual_seed(seed)
        self.taste = torch.randn(offers, traits, generator=g)
        self.twist = torch.randn(offers, traits, generator=g)
        self.traits = traits

    def arrive(self, n):
        return torch.randn(n, self.traits)

    def chances(self, x):
        return torch.sigmoid(1.2 * x @ self.taste.t() + (x.abs() - 0.8) @ self.twist.t() - 1.0)

    def show(self, x, offer):
        chance = self.chances(x).gather(1, offer[:, None]).squeeze(1)
        return torch.bernoulli(chance)


class Agent:
    def __init__(self, traits, offers, lr=4e-3, entropy_weight=0.01):
        self.body = nn.Sequential(nn.Linear(traits, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.policy_head = nn.Linear(64, offers)
        self.value_head = nn.Linear(64, 1)
        self.parameters = [p for m in (self.body, self.policy_head, self.value_head) for p in m.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr)
        self.entropy_weight = entropy_weight

    def look(self, x):
        h = self.body(x)
        return Categorical(logits=self.policy_head(h)), self.value_head(h).squeeze(1)

    def learn(self, x, world):
        policy, value = self.look(x)
        offer = policy.sample()
        reward = world.show(x, offer)
        advantage = reward - value.detach()
        policy_loss = -(policy.log_prob(offer) * advantage).mean()
        value_loss = (reward - value).pow(2).mean()
        loss = policy_loss + 0.5 * value_loss - self.entropy_weight * policy.entropy().mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return loss.item(), reward.mean().item()

    @torch.no_grad()
    def best(self, x):
        return self.look(x)[0].probs.argmax(1)


def main(rounds=800, crowd=128):
    torch.manual_seed(4)
    world = Visitors()
    agent = Agent(world.traits, len(world.taste))
    test = world.arrive(4000)
    ideal = world.chances(test).max(1).values.mean().item()
    blind = world.chances(test).mean().item()
    print(f"at random {blind:.3f}, ideal {ideal:.3f}")
    taken = 0.0
    for r in range(1, rounds + 1):
        loss, now = agent.learn(world.arrive(crowd), world)
        taken += now
        if r % 100 == 0:
            offers = agent.best(test)
            expected = world.chances(test).gather(1, offers[:, None]).mean().item()
            print(f"round {r}: loss {loss:+.4f}, taken so far {taken / r:.3f}, chance of the offer chosen {expected:.4f}")


if __name__ == "__main__":
    main()
