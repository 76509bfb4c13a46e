"""A lift learns by deep Q-learning to fetch whoever waits and to bring them to their floor, in as few moves as it can."""

import copy
import random

import torch
import torch.nn.functional as F
from torch import nn

FLOORS, LIFTS = 6, 32
STEPS, BATCH, GAMMA, EVERY = 1500, 96, 0.9, 25


class Lifts:
    """Many lifts at once: the floor of the lift, where someone waits (or rides), and where they want to go."""

    def __init__(self, n):
        self.n = n
        self.at, self.wait, self.goal = (torch.randint(FLOORS, (n,)) for _ in range(3))
        self.inside = torch.zeros(n, dtype=torch.bool)

    def state(self):
        places = [F.one_hot(torch.where(self.inside, self.at, self.wait), FLOORS), F.one_hot(self.goal, FLOORS)]
        return torch.cat([F.one_hot(self.at, FLOORS), *places, self.inside[:, None].long()], dim=1).float()

    def move(self, action):
        """0 goes down, 1 goes up, 2 opens the door; someone brought to their floor is worth 1, and the next one waits."""
        opened = action == 2
        brought = opened & self.inside & (self.at == self.goal)
        fetched = opened & ~self.inside & (self.at == self.wait)
        self.inside = (self.inside | fetched) & ~brought
        self.at = (self.at + (action == 1).long() - (action == 0).long()).clamp(0, FLOORS - 1)
        self.wait = torch.where(brought, torch.randint(FLOORS, (self.n,)), self.wait)
        self.goal = torch.where(brought, torch.randint(FLOORS, (self.n,)), self.goal)
        return brought.float() + 0.2 * fetched.float()


def q_network():
    return nn.Sequential(nn.Linear(3 * FLOORS + 1, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 3))


class Replay:
    def __init__(self, size):
        self.size, self.rows = size, []

    def add(self, state, action, reward, after):
        self.rows.append((state, action, reward, after))
        self.rows = self.rows[-self.size :]

    def draw(self, n):
        drawn = [random.choice(self.rows) for _ in range(n // 8)]
        which = [torch.randint(LIFTS, (8,)) for _ in drawn]
        return [torch.cat([row[part][w] for row, w in zip(drawn, which)]) for part in range(4)]


@torch.no_grad()
def brought_in(q, lifts=300, moves=60):
    """Reward of a lift in sixty moves, always with the best action."""
    world, total = Lifts(lifts), 0.0
    for _ in range(moves):
        total += world.move(q(world.state()).argmax(dim=1)).mean().item()
    return total


def main():
    torch.manual_seed(5)
    random.seed(5)
    online = q_network()
    target = copy.deepcopy(online)
    optimizer = torch.optim.Adam(online.parameters(), lr=1.5e-3)
    replay, world = Replay(400), Lifts(LIFTS)
    for step in range(1, STEPS + 1):
        epsilon = max(0.1, 1 - step / 600)
        state = world.state()
        with torch.no_grad():
            best = online(state).argmax(dim=1)
        action = torch.where(torch.rand(LIFTS) < epsilon, torch.randint(3, (LIFTS,)), best)
        reward = world.move(action)
        replay.add(state, action, reward, world.state())
        if step % 40 == 0:
            world = Lifts(LIFTS)
        state, action, reward, after = replay.draw(BATCH)
        with torch.no_grad():
            aim = reward + GAMMA * target(after).max(dim=1).values
        guess = online(state).gather(1, action[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(guess, aim)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % EVERY == 0:
            target.load_state_dict(online.state_dict())
        if step % 250 == 0:
            print(f"step {step}: loss {loss.item():.4f}, reward in sixty moves {brought_in(online):.3f}")
    print(f"reward in sixty moves {brought_in(online):.3f}")


if __name__ == "__main__":
    main()
