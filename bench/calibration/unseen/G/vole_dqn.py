"""A vole looks for its food in a burrow with a fallen-in wall: deep Q-learning, many voles at once, soft target."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

SIZE, LIMIT, VOLES = 6, 18, 32
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])
WALL = torch.zeros(SIZE, SIZE, dtype=torch.bool)
WALL[2, 1:5] = True  # one gap at either end
BATCH, GAMMA, TAU, LR = 128, 0.95, 0.02, 1e-3


class Burrow:
    """Finding the food earns 1, each step on the way costs 0.02; a new vole takes the place of one that is done."""

    def __init__(self, n):
        self.vole, self.food = torch.zeros(n, 2, dtype=torch.long), torch.zeros(n, 2, dtype=torch.long)
        self.age = torch.zeros(n)
        self.renew(torch.ones(n, dtype=torch.bool))

    def renew(self, which):
        free = (~WALL).nonzero()
        self.vole[which] = free[torch.randint(len(free), (int(which.sum()),))]
        self.food[which] = free[torch.randint(len(free), (int(which.sum()),))]
        self.age[which] = 0

    def look(self):
        spots = torch.cat([self.vole, self.food], dim=1)
        return F.one_hot(spots, SIZE).flatten(1).float()

    def act(self, action):
        there = (self.vole + MOVES[action]).clamp(0, SIZE - 1)
        blocked = WALL[there[:, 0], there[:, 1]]
        self.vole = torch.where(blocked[:, None], self.vole, there)
        self.age += 1
        found = (self.vole == self.food).all(dim=1)
        after = self.look()
        ended = found | (self.age >= LIMIT)
        return found.float() - 0.02, after, found, ended


class QNet(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.first = nn.Linear(4 * SIZE, width)
        self.second = nn.Linear(width, width)
        self.values = nn.Linear(width, len(MOVES))

    def forward(self, seen):
        return self.values(F.relu(self.second(F.relu(self.first(seen)))))


class Replay:
    """A ring of steps: what was seen, done, earned, seen next, and whether that was the end."""

    def __init__(self, room):
        self.room, self.held, self.at = room, 0, 0
        self.columns = [
            torch.zeros(room, 4 * SIZE),
            torch.zeros(room, dtype=torch.long),
            torch.zeros(room),
            torch.zeros(room, 4 * SIZE),
            torch.zeros(room),
        ]

    def add(self, *news):
        places = (self.at + torch.arange(len(news[0]))) % self.room
        for column, new in zip(self.columns, news):
            column[places] = new
        self.at = (self.at + len(places)) % self.room
        self.held = min(self.held + len(places), self.room)

    def draw(self, n):
        places = torch.randint(self.held, (n,))
        return [column[places] for column in self.columns]


def follow(target, online):
    with torch.no_grad():
        for t, o in zip(target.parameters(), online.parameters()):
            t.mul_(1 - TAU).add_(TAU * o)


def mean_return(q, n=1000):
    world, total, alive = Burrow(n), torch.zeros(n), torch.ones(n, dtype=torch.bool)
    for _ in range(LIMIT):
        with torch.no_grad():
            reward, _, _, ended = world.act(q(world.look()).argmax(dim=1))
        total += reward * alive
        alive &= ~ended
    return total.mean().item()


def train(steps=1500):
    q = QNet()
    with torch.no_grad():
        q.values.bias.fill_(-0.02 * LIMIT)  # to begin with, every move is thought to lead nowhere
    target = copy.deepcopy(q).requires_grad_(False)
    optimizer = torch.optim.Adam(q.parameters(), lr=LR)
    replay, world = Replay(20000), Burrow(VOLES)
    for step in range(1, steps + 1):
        seen = world.look()
        with torch.no_grad():
            action = q(seen).argmax(dim=1)
        explore = torch.rand(VOLES) < max(0.1, 1 - step / 800)
        action = torch.where(explore, torch.randint(len(MOVES), (VOLES,)), action)
        reward, after, found, ended = world.act(action)
        replay.add(seen, action, reward, after, found.float())
        world.renew(ended)
        if step < 20:
            continue
        s, a, r, s_next, terminal = replay.draw(BATCH)
        with torch.no_grad():
            wanted = r + GAMMA * (1 - terminal) * target(s_next).amax(dim=1)
        guess = q(s).gather(1, a[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(guess, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        follow(target, q)
        if step % 300 == 0:
            print(f"step {step}: loss {loss.item():.5f} mean return {mean_return(q):.3f}")
    return q


if __name__ == "__main__":
    torch.manual_seed(2)
    print(f"mean return {mean_return(train(), n=4000):.3f}")
