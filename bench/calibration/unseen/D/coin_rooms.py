"""Coins and pits in a walled grid: double deep Q-learning with returns over several steps, many worlds at once."""

import argparse
from collections import deque

import numpy as np
import torch
from torch import nn

SIDE, LONGEST = 5, 20
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
PITS = {(1, 1), (3, 3)}
COINS = ((0, 4), (4, 0))
EXIT = (4, 4)


class Room:
    def __init__(self, rng):
        self.rng = rng

    def reset(self):
        while True:
            self.at = tuple(self.rng.integers(SIDE, size=2).tolist())
            if self.at not in PITS and self.at not in COINS and self.at != EXIT:
                break
        self.left = [True, True]
        self.time = 0
        return self.observe()

    def observe(self):
        seen = np.zeros(2 * SIDE + 2, dtype=np.float32)
        seen[self.at[0]] = seen[SIDE + self.at[1]] = 1
        seen[2 * SIDE :] = self.left
        return seen

    def step(self, move):
        """What is seen, the reward, is the game over, was it cut off."""
        row, column = (min(max(p + d, 0), SIDE - 1) for p, d in zip(self.at, MOVES[move]))
        self.at = (row, column)
        self.time += 1
        reward, over = -0.04, False
        if self.at in PITS:
            reward, over = -1.0, True
        elif self.at == EXIT:
            reward, over = 1.0, True
        elif self.at in COINS and self.left[COINS.index(self.at)]:
            self.left[COINS.index(self.at)] = False
            reward = 0.6
        return self.observe(), reward, over, self.time >= LONGEST and not over


def make_net():
    return nn.Sequential(nn.Linear(2 * SIDE + 2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, len(MOVES)))


class Memory:
    """The last few thousand transitions, each over up to n steps."""

    def __init__(self, room, n_steps, gamma):
        self.items = deque(maxlen=room)
        self.n_steps, self.gamma = n_steps, gamma

    def add_game(self, seen, moves, rewards, over):
        """A whole game; seen holds one more than the moves. The last value counts only where the game was cut off."""
        for start in range(len(moves)):
            stop = min(start + self.n_steps, len(moves))
            total = 0.0
            for reward in reversed(rewards[start:stop]):
                total = reward + self.gamma * total
            ends = over and stop == len(moves)
            onward = 0.0 if ends else self.gamma ** (stop - start)
            self.items.append((seen[start], moves[start], total, seen[stop], onward))

    def sample(self, n, rng):
        chosen = [self.items[i] for i in rng.integers(len(self.items), size=n)]
        seen, moves, totals, later, onward = zip(*chosen)
        return (
            torch.from_numpy(np.stack(seen)),
            torch.tensor(moves),
            torch.tensor(totals, dtype=torch.float32),
            torch.from_numpy(np.stack(later)),
            torch.tensor(onward, dtype=torch.float32),
        )


def choose(net, seen, epsilon, rng):
    if rng.random() < epsilon:
        return int(rng.integers(len(MOVES)))
    with torch.no_grad():
        return int(net(torch.from_numpy(seen)).argmax())


def play(room, net, epsilon, rng):
    seen, moves, rewards = [room.reset()], [], []
    over = cut = False
    while not (over or cut):
        moves.append(choose(net, seen[-1], epsilon, rng))
        now, reward, over, cut = room.step(moves[-1])
        seen.append(now)
        rewards.append(reward)
    return seen, moves, rewards, over


def temporal_difference(net, target_net, batch):
    seen, moves, totals, later, onward = batch
    with torch.no_grad():
        best = net(later).argmax(1, keepdim=True)
        goal = totals + onward * target_net(later).gather(1, best).squeeze(1)
    value = net(seen).gather(1, moves.unsqueeze(1)).squeeze(1)
    return nn.functional.smooth_l1_loss(value, goal)


def main(args):
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    room = Room(rng)
    net, target_net = make_net(), make_net()
    target_net.load_state_dict(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
    memory = Memory(4000, args.n_steps, args.gamma)
    updates = 0
    for game in range(1, args.games + 1):
        memory.add_game(*play(room, net, max(0.1, 1 - game / 200), rng))
        if game < 30:
            continue
        for _ in range(4):
            loss = temporal_difference(net, target_net, memory.sample(64, rng))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            updates += 1
            if updates % args.sync_every == 0:
                target_net.load_state_dict(net.state_dict())
        if game % 100 == 0:
            mean = np.mean([sum(play(room, net, 0.0, rng)[2]) for _ in range(100)])
            print(f"game {game}: loss {loss.item():.4f}, mean return {mean:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--games", type=int, default=500)
    parser.add_argument("--gamma", type=float, default=0.93)
    parser.add_argument("--n-steps", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--sync-every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=2)
    main(parser.parse_args())
