import random
from collections import deque

import torch
import torch.nn as nn

# DQN on a 4x4 grid with a pit; the goal is in the far corner.
SIZE = 4
GOAL, PIT = (3, 3), (1, 2)
MOVES = [(0, 1), (1, 0), (0, -1), (-1, 0)]
gamma = 0.9
batch_size = 32
target_every = 25

random.seed(1)
torch.manual_seed(1)


def observe(pos):
    x = torch.zeros(SIZE * SIZE)
    x[pos[0] * SIZE + pos[1]] = 1.0
    return x


def move(pos, action):
    row = min(max(pos[0] + MOVES[action][0], 0), SIZE - 1)
    col = min(max(pos[1] + MOVES[action][1], 0), SIZE - 1)
    new = (row, col)
    if new == GOAL:
        return new, 1.0, True
    if new == PIT:
        return new, -1.0, True
    return new, -0.02, False


def make_net():
    return nn.Sequential(nn.Linear(SIZE * SIZE, 48), nn.ReLU(), nn.Linear(48, 4))


policy_net, target_net = make_net(), make_net()
target_net.load_state_dict(policy_net.state_dict())
optimizer = torch.optim.Adam(policy_net.parameters(), lr=2e-3)
memory = deque(maxlen=2000)


def optimize_model():
    if len(memory) < 100:
        return
    states, actions, rewards, following, done = zip(*random.sample(memory, batch_size))
    states, following = torch.stack(states), torch.stack(following)
    actions = torch.tensor(actions).unsqueeze(1)
    rewards, done = torch.tensor(rewards), torch.tensor(done, dtype=torch.float32)
    q_values = policy_net(states).gather(1, actions).squeeze(1)
    with torch.no_grad():
        expected = rewards + gamma * (1 - done) * target_net(following).max(1).values
    loss = nn.functional.smooth_l1_loss(q_values, expected)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def greedy_return():
    total, n = 0.0, 0
    for start in [(0, 0), (0, 3), (3, 0), (2, 1)]:
        pos, value = start, 0.0
        for _ in range(12):
            with torch.no_grad():
                action = policy_net(observe(pos)).argmax().item()
            pos, reward, done = move(pos, action)
            value += reward
            if done:
                break
        total, n = total + value, n + 1
    return total / n


updates = 0
for episode in range(140):
    pos = (random.randrange(SIZE), random.randrange(SIZE))
    epsilon = max(0.1, 1.0 - episode / 80)
    for t in range(20):
        state = observe(pos)
        if random.random() < epsilon:
            action = random.randrange(4)
        else:
            with torch.no_grad():
                action = policy_net(state).argmax().item()
        pos, reward, done = move(pos, action)
        memory.append((state, action, reward, observe(pos), done))
        optimize_model()
        updates += 1
        if updates % target_every == 0:
            target_net.load_state_dict(policy_net.state_dict())
        if done:
            break
    if episode % 20 == 19:
        print("episode", episode + 1, "updates", updates, "greedy return", round(greedy_return(), 3))
