"""Double DQN with three-step returns in a corridor: fetch the key at one end, then leave by the door at the other."""

import copy
import random
from collections import deque

import torch
from torch import nn

CELLS, LIMIT, GAMMA, N_STEP = 9, 40, 0.95, 3


class Corridor:
    """Cells 0 ... 8: the key in 0, the door in 8; actions: left, right. A slippery floor turns one move in ten round."""

    def __init__(self, rng):
        self.rng = rng

    def reset(self, cell=None):
        self.cell = self.rng.randrange(1, CELLS - 1) if cell is None else cell
        self.key, self.clock = False, 0
        return self.observe()

    def observe(self):
        seen = torch.zeros(CELLS + 1)
        seen[self.cell] = 1.0
        seen[CELLS] = float(self.key)
        return seen

    def step(self, action):
        if self.rng.random() < 0.1:
            action = 1 - action
        self.cell = min(max(self.cell + (1 if action else -1), 0), CELLS - 1)
        self.clock += 1
        reward = -0.02
        if self.cell == 0 and not self.key:
            self.key, reward = True, 0.3
        out = self.cell == CELLS - 1 and self.key
        return self.observe(), reward + float(out), out, out or self.clock >= LIMIT


class Memory:
    def __init__(self, size, rng):
        self.rows, self.rng = deque(maxlen=size), rng

    def add_episode(self, steps, last):
        """Each step with the discounted sum of the rewards of the next few, and the state that comes after them."""
        for i in range(len(steps)):
            window = steps[i : i + N_STEP]
            total = 0.0
            for _, _, reward, _ in reversed(window):
                total = reward + GAMMA * total
            follow = steps[i + N_STEP][0] if i + N_STEP < len(steps) else last
            self.rows.append((steps[i][0], steps[i][1], total, follow, window[-1][3], GAMMA ** len(window)))

    def sample(self, n):
        state, action, total, follow, out, discount = zip(*self.rng.sample(self.rows, n))
        return (
            torch.stack(state),
            torch.tensor(action),
            torch.tensor(total),
            torch.stack(follow),
            torch.tensor(out, dtype=torch.float32),
            torch.tensor(discount),
        )


def make_q():
    return nn.Sequential(nn.Linear(CELLS + 1, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))


def learn(online, target, optimizer, batch):
    state, action, total, follow, out, discount = batch
    with torch.no_grad():
        best = online(follow).argmax(dim=1, keepdim=True)
        ahead = target(follow).gather(1, best).squeeze(1)
        goal = total + discount * (1 - out) * ahead
    value = online(state).gather(1, action.unsqueeze(1)).squeeze(1)
    loss = nn.functional.smooth_l1_loss(value, goal)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def greedy_return(online, games=5):
    env, gained = Corridor(random.Random(123)), 0.0
    for game in range(games * (CELLS - 2)):
        state, over = env.reset(cell=1 + game % (CELLS - 2)), False
        while not over:
            state, reward, _, over = env.step(int(online(state).argmax()))
            gained += reward
    return gained / (games * (CELLS - 2))


def main():
    torch.manual_seed(0)
    rng = random.Random(0)
    env, memory = Corridor(rng), Memory(4000, rng)
    online = make_q()
    target = copy.deepcopy(online)
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-3)
    step = 0
    for episode in range(1, 121):
        epsilon = max(0.1, 1.0 - episode / 60)
        state, over, steps = env.reset(), False, []
        while not over:
            explore = rng.random() < epsilon
            with torch.no_grad():
                action = rng.randrange(2) if explore else int(online(state).argmax())
            follow, reward, out, over = env.step(action)
            steps.append((state, action, reward, out))
            state = follow
            step += 1
            if len(memory.rows) >= 200:
                loss = learn(online, target, optimizer, memory.sample(64))
            if step % 50 == 0:
                target.load_state_dict(online.state_dict())
        memory.add_episode(steps, state)
        if episode % 20 == 0:
            print(f"episode {episode}: loss {loss:.4f}, greedy return {greedy_return(online):.3f}")


if __name__ == "__main__":
    main()
