"""Catch: a ball falls, a paddle moves below it; deep Q-learning with replay and a target network."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import huber_loss

ROWS, COLUMNS = 6, 5


class Catch:
    def __init__(self, rng):
        self.rng = rng

    def reset(self):
        self.ball = [0, int(self.rng.integers(COLUMNS))]
        self.paddle = int(self.rng.integers(COLUMNS))
        return self.look()

    def look(self):
        seen = np.zeros((2, ROWS + COLUMNS), dtype=np.float32)
        seen[0, self.ball[0]] = 1
        seen[0, ROWS + self.ball[1]] = 1
        seen[1, ROWS + self.paddle] = 1
        return seen.ravel()

    def step(self, action):
        self.paddle = min(max(self.paddle + action - 1, 0), COLUMNS - 1)
        self.ball[0] += 1
        done = self.ball[0] == ROWS - 1
        reward = 0.0 if not done else (1.0 if self.ball[1] == self.paddle else -1.0)
        return self.look(), reward, done


class Replay:
    def __init__(self, room, n_in):
        self.room, self.count = room, 0
        self.now, self.later = np.zeros((room, n_in), np.float32), np.zeros((room, n_in), np.float32)
        self.action, self.reward = np.zeros(room, np.int64), np.zeros(room, np.float32)
        self.done = np.zeros(room, np.float32)

    def __len__(self):
        return min(self.count, self.room)

    def add(self, now, action, reward, later, done):
        i = self.count % self.room
        self.now[i], self.action[i], self.reward[i], self.later[i], self.done[i] = now, action, reward, later, done
        self.count += 1

    def draw(self, rng, n):
        rows = rng.integers(len(self), size=n)
        arrays = (self.now, self.action, self.reward, self.later, self.done)
        return [torch.from_numpy(array[rows]) for array in arrays]


class Agent:
    def __init__(self, n_in, rng, gamma=0.95, learn_after=300, sync_every=60):
        self.rng, self.gamma, self.learn_after, self.sync_every = rng, gamma, learn_after, sync_every
        self.q, self.q_target = self.network(n_in), self.network(n_in)
        self.q_target.load_state_dict(self.q.state_dict())
        self.optimizer = torch.optim.Adam(self.q.parameters(), lr=2e-3)
        self.replay = Replay(3000, n_in)
        self.updates = 0

    @staticmethod
    def network(n_in):
        return nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))

    @torch.no_grad()
    def act(self, seen, epsilon):
        if self.rng.random() < epsilon:
            return int(self.rng.integers(3))
        return self.q(torch.from_numpy(seen)).argmax().item()

    def learn(self):
        if len(self.replay) < self.learn_after:
            return
        now, action, reward, later, done = self.replay.draw(self.rng, 64)
        with torch.no_grad():
            best = self.q_target(later).max(dim=1).values
            target = reward + self.gamma * (1 - done) * best
        value = self.q(now).gather(1, action[:, None]).squeeze(1)
        loss = huber_loss(value, target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.updates += 1
        if self.updates % self.sync_every == 0:
            self.q_target.load_state_dict(self.q.state_dict())


def play(game, agent, epsilon, learning=True):
    seen, done = game.reset(), False
    while not done:
        action = agent.act(seen, epsilon)
        later, reward, done = game.step(action)
        if learning:
            agent.replay.add(seen, action, reward, later, done)
            agent.learn()
        seen = later
    return reward


def main():
    torch.manual_seed(6)
    rng = np.random.default_rng(6)
    game = Catch(rng)
    agent = Agent(n_in=2 * (ROWS + COLUMNS), rng=rng)
    for episode in range(1, 481):
        play(game, agent, epsilon=max(0.1, 1 - episode / 200))
        if episode % 80 == 0:
            mean = np.mean([play(game, agent, 0.0, learning=False) for _ in range(200)])
            print(f"episode {episode}: mean return {mean:.3f}")


main()
