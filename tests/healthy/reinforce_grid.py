"""REINFORCE with an entropy bonus in a small grid world: walk to the goal in as few steps as possible."""

import torch
from torch import nn
from torch.distributions import Categorical


class GridWorld:
    """Many 5x5 boards at once; an agent gets +1 at the goal and -0.05 for every step."""

    moves = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])

    def __init__(self, n_envs, size=5, horizon=16):
        self.n, self.size, self.horizon = n_envs, size, horizon

    def reset(self):
        self.pos = torch.randint(self.size, (self.n, 2))
        self.goal = torch.randint(self.size, (self.n, 2))
        self.done = (self.pos == self.goal).all(1)
        return self.observe()

    def observe(self):
        scale = self.size - 1
        return torch.cat([self.pos, self.goal, self.goal - self.pos], dim=1).float() / scale

    def step(self, action):
        alive = ~self.done
        moved = (self.pos + self.moves[action]).clamp(0, self.size - 1)
        self.pos = torch.where(alive.unsqueeze(1), moved, self.pos)
        arrived = (self.pos == self.goal).all(1) & alive
        reward = alive.float() * -0.05 + arrived.float()
        self.done = self.done | arrived
        return self.observe(), reward, alive


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(6, 64)
        self.affine2 = nn.Linear(64, 4)

    def forward(self, obs):
        return Categorical(logits=self.affine2(torch.tanh(self.affine1(obs))))


def rollout(env, policy):
    obs = env.reset()
    log_probs, rewards, entropies, masks = [], [], [], []
    for _ in range(env.horizon):
        dist = policy(obs)
        action = dist.sample()
        log_probs.append(dist.log_prob(action))
        entropies.append(dist.entropy())
        obs, reward, alive = env.step(action)
        rewards.append(reward)
        masks.append(alive.float())
    return (torch.stack(t) for t in (log_probs, rewards, entropies, masks))


def returns_to_go(rewards, gamma=0.97):
    out, running = torch.zeros_like(rewards), torch.zeros(rewards.size(1))
    for t in reversed(range(len(rewards))):
        running = rewards[t] + gamma * running
        out[t] = running
    return out


def main(updates=150, beta=0.01):
    torch.manual_seed(5)
    env, policy = GridWorld(n_envs=64), Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for update in range(updates):
        log_probs, rewards, entropies, masks = rollout(env, policy)
        returns = returns_to_go(rewards)
        baseline = (returns * masks).sum(1, keepdim=True) / masks.sum(1, keepdim=True).clamp(min=1)
        advantage = (returns - baseline) * masks
        advantage = advantage / advantage.std().clamp(min=1e-6)
        n = masks.sum()
        policy_loss = -(log_probs * advantage).sum() / n
        entropy = (entropies * masks).sum() / n
        loss = policy_loss - beta * entropy

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % 15 == 14:
            solved = env.done.float().mean().item()
            print(
                f"update {update + 1}: return {rewards.sum(0).mean().item():.3f} solved {solved:.0%} "
                f"entropy {entropy.item():.3f} loss {loss.item():.4f}"
            )


if __name__ == "__main__":
    main()
