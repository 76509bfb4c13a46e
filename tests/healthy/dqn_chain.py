"""Double DQN on a small noisy corridor, replay buffer and slowly following target network."""

import copy
import random
from collections import deque

import torch
from torch import nn

N, HORIZON, GAMMA = 9, 30, 0.95


class Corridor:
    """Start in the middle. Right end pays 1, left end pays 0.2. One move in ten slips."""

    def reset(self):
        self.s, self.t = N // 2, 0
        return self.s

    def step(self, a):
        if random.random() < 0.1:
            a = 1 - a
        self.s += 1 if a else -1
        self.t += 1
        if self.s == 0:
            return self.s, 0.2, True
        if self.s == N - 1:
            return self.s, 1.0, True
        return self.s, 0.0, self.t >= HORIZON


def one_hot(s):
    return nn.functional.one_hot(torch.as_tensor(s), N).float()


def learn(q, target, opt, buffer, batch=32):
    s, a, r, s2, d = map(torch.tensor, zip(*random.sample(buffer, batch)))
    qsa = q(one_hot(s)).gather(1, a[:, None]).squeeze(1)
    with torch.no_grad():
        best = q(one_hot(s2)).argmax(1, keepdim=True)
        y = r + GAMMA * (1 - d.float()) * target(one_hot(s2)).gather(1, best).squeeze(1)
    loss = nn.functional.smooth_l1_loss(qsa, y)
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(q.parameters(), 1.0)
    opt.step()
    with torch.no_grad():
        for tp, p in zip(target.parameters(), q.parameters()):
            tp.lerp_(p, 0.02)
    return loss.item()


def main():
    random.seed(0)
    torch.manual_seed(0)
    env = Corridor()
    q = nn.Sequential(nn.Linear(N, 32), nn.ReLU(), nn.Linear(32, 2))
    target = copy.deepcopy(q).requires_grad_(False)
    opt = torch.optim.Adam(q.parameters(), lr=1e-3)
    buffer = deque(maxlen=4000)
    losses, rewards = deque(maxlen=200), deque(maxlen=40)
    steps = 0
    for episode in range(240):
        s, done, total = env.reset(), False, 0.0
        while not done:
            eps = max(0.05, 1 - steps / 1200)
            if random.random() < eps:
                a = random.randrange(2)
            else:
                with torch.no_grad():
                    a = q(one_hot(s)).argmax().item()
            s2, r, done = env.step(a)
            buffer.append((s, a, r, s2, done))
            s, total, steps = s2, total + r, steps + 1
            if len(buffer) >= 200:
                losses.append(learn(q, target, opt, buffer))
        rewards.append(total)
        if episode % 30 == 29:
            print(
                f"episode {episode + 1} steps {steps} mean return {sum(rewards) / len(rewards):.3f} td loss {sum(losses) / max(1, len(losses)):.5f}"
            )
    with torch.no_grad():
        print("policy", "".join("LR"[i] for i in q(one_hot(list(range(N)))).argmax(1).tolist()))


if __name__ == "__main__":
    main()
