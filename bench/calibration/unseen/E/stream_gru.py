"""Twenty sensors are watched as they run: a GRU with a carried state says the next reading, trained on short windows."""

import numpy as np
import torch
import torch.nn as nn

rng = np.random.default_rng(31)
torch.manual_seed(31)

STREAMS, STEPS, WINDOW = 20, 1260, 20


def record(n, steps):
    """Two tones per sensor with a slow loudness, an offset and a unit; some noise."""
    t = np.arange(steps)[:, None]
    f1, f2 = rng.uniform(0.3, 0.5, n), rng.uniform(0.9, 1.3, n)
    loud = 1 + 0.5 * np.sin(0.02 * t + rng.uniform(0, 6, n))
    signal = loud * np.sin(f1 * t + rng.uniform(0, 6, n)) + 0.6 * np.sin(f2 * t + rng.uniform(0, 6, n))
    return (70 + 25 * (signal + 0.1 * rng.normal(size=(steps, n)))).astype("float32")


readings = record(STREAMS, STEPS)
cut = 1000
mean, std = readings[:cut].mean(), readings[:cut].std()
series = torch.from_numpy((readings - mean) / std).unsqueeze(-1)  # (time, sensor, 1)
train, valid = series[:cut], series[cut:]


class Watcher(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.gru = nn.GRU(1, hidden)
        self.read = nn.Linear(hidden, 1)

    def forward(self, x, state=None):
        out, state = self.gru(x, state)
        return self.read(out), state


net = Watcher()
criterion = nn.MSELoss()
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
sched = torch.optim.lr_scheduler.StepLR(opt, step_size=6, gamma=0.4)

for epoch in range(14):
    net.train()
    state, seen = None, 0.0
    starts = range(0, cut - WINDOW, WINDOW)
    for i in starts:
        x, target = train[i : i + WINDOW], train[i + 1 : i + WINDOW + 1]
        if state is not None:
            state = state.detach()
        guess, state = net(x, state)
        loss = criterion(guess, target)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        seen += loss.item()
    sched.step()

    net.eval()
    with torch.no_grad():
        guess, _ = net(valid[:-1], state)
        error = criterion(guess, valid[1:]).item()
    print(f"epoch {epoch + 1}: train {seen / len(starts):.4f} validation mse {error:.4f}")
