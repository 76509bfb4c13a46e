# A ferry crosses a river whose current differs from row to row; it has to land at the pier.
# Dueling deep Q-learning with replay and a target network, many crossings at a time.
import argparse
import copy
from collections import deque

import torch
import torch.nn.functional as F
from torch import nn, optim

LANES, ROWS, ACTIONS = 7, 6, 3


class River:
    """In each row the water carries the ferry so many lanes to the side; the pier is at one of the lanes."""

    current = torch.tensor([1, 1, -1, -1, 1, 0])

    def __init__(self, ferries):
        self.ferries = ferries

    def begin(self):
        self.row = 0
        self.lane = torch.randint(0, LANES, (self.ferries,))
        self.pier = (self.lane + torch.randint(-3, 4, (self.ferries,))).clamp(0, LANES - 1)
        return self.look()

    def look(self):
        row = torch.full((self.ferries,), min(self.row, ROWS - 1))
        return torch.cat(
            [F.one_hot(self.lane, LANES), F.one_hot(self.pier, LANES), F.one_hot(row, ROWS)], dim=1
        ).float()

    def step(self, action):
        self.lane = (self.lane + (action - 1) + self.current[self.row]).clamp(0, LANES - 1)
        self.row += 1
        over = self.row == ROWS
        reward = (self.lane == self.pier).float() if over else torch.zeros(self.ferries)
        return self.look(), reward - 0.02 * (action != 1).float(), over


class DuelingQ(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(2 * LANES + ROWS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.value = nn.Linear(width, 1)
        self.advantage = nn.Linear(width, ACTIONS)
        self.apply(self._start)

    @staticmethod
    def _start(m):
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            nn.init.zeros_(m.bias)

    def forward(self, s):
        h = self.trunk(s)
        a = self.advantage(h)
        return self.value(h) + a - a.mean(dim=1, keepdim=True)


def crossings(q, ferries, greed):
    """One trip of each ferry; returns what was seen and the mean reward."""
    river, seen, total = River(ferries), [], torch.zeros(ferries)
    s, over = river.begin(), False
    while not over:
        with torch.no_grad():
            best = q(s).argmax(dim=1)
        a = torch.where(torch.rand(ferries) < greed, best, torch.randint(0, ACTIONS, (ferries,)))
        s2, r, over = river.step(a)
        seen.append((s, a, r, s2, torch.full((ferries,), float(over))))
        total += r
        s = s2
    return seen, total.mean().item()


def learn(q, q_old, opt, batch, gamma):
    s, a, r, s2, over = batch
    with torch.no_grad():
        goal = r + gamma * (1 - over) * q_old(s2).max(dim=1).values
    said = q(s).gather(1, a[:, None]).squeeze(1)
    loss = F.smooth_l1_loss(said, goal)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss.item()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--trips", type=int, default=90)
    p.add_argument("--ferries", type=int, default=16)
    p.add_argument("--updates", type=int, default=10)
    p.add_argument("--sync", type=int, default=5, help="trips between two copies to the target network")
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--gamma", type=float, default=0.97)
    args = p.parse_args()

    torch.manual_seed(8)
    q = DuelingQ(64)
    q_old = copy.deepcopy(q)
    opt = optim.Adam([*q.trunk.parameters(), *q.value.parameters(), *q.advantage.parameters()], lr=args.lr)
    memory = deque(maxlen=300)
    for trip in range(args.trips):
        seen, got = crossings(q, args.ferries, greed=min(0.9, trip / 45))
        memory.extend(seen)
        pool = [torch.cat(part) for part in zip(*memory)]
        losses = []
        for _ in range(args.updates):
            rows = torch.randint(0, len(pool[0]), (128,))
            losses.append(learn(q, q_old, opt, [part[rows] for part in pool], args.gamma))
        if trip % args.sync == 0:
            q_old.load_state_dict(q.state_dict())
        if trip % 15 == 14:
            print(f"trip {trip + 1}: reward while exploring {got:.3f}, loss {sum(losses) / len(losses):.5f}")
    _, score = crossings(q, 500, greed=1.0)
    print(f"reward of greedy crossings {score:.4f}")


if __name__ == "__main__":
    main()
