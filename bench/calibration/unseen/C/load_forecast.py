# Electricity load, hourly: an LSTM reads two days and forecasts the next six hours.
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

np.random.seed(11)
torch.manual_seed(11)

HOURS, HISTORY, HORIZON = 24 * 160, 48, 6
SMOOTH = 1e-3
t = np.arange(HOURS)
season = np.sin(2 * np.pi * t / (24 * 60))
noise = np.zeros(HOURS)
for i in range(1, HOURS):
    noise[i] = 0.8 * noise[i - 1] + 1.2 * np.random.randn()
load = 300 + 60 * season + (30 + 18 * season) * np.sin(2 * np.pi * t / 24) + 12 * np.cos(4 * np.pi * t / 24) + noise

split = 24 * 120
mean, std = load[:split].mean(), load[:split].std()


def features(series, hours, centre, scale):
    z = (series - centre) / scale
    daily = np.convolve(z, np.ones(24) / 24, mode="full")[: len(z)]  # mean of the 24 hours up to now
    clock = 2 * np.pi * hours / 24
    return np.stack([z, daily, np.sin(clock), np.cos(clock)], axis=1)


def windows(table):
    xs, ys = [], []
    for start in range(24, len(table) - HISTORY - HORIZON + 1, 2):
        now = start + HISTORY
        xs.append(table[start:now])
        ys.append(table[now : now + HORIZON, 0])
    return torch.tensor(np.array(xs), dtype=torch.float32), torch.tensor(np.array(ys), dtype=torch.float32)


train_x, train_y = windows(features(load[:split], t[:split], mean, std))
val_x, val_y = windows(features(load[split:], t[split:], mean, std))


class Forecaster(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.rnn = nn.LSTM(4, hidden, batch_first=True)
        self.head = nn.Linear(hidden, HORIZON)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


net = Forecaster()
mse = nn.MSELoss()
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=10)
loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)

for epoch in range(10):
    net.train()
    seen = 0.0
    for x, y in loader:
        opt.zero_grad()
        pred = net(x)
        jumps = pred[:, 1:] - pred[:, :-1]
        loss = mse(pred, y) + SMOOTH * jumps.pow(2).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        seen += loss.item()
    sched.step()
    net.eval()
    with torch.no_grad():
        val = mse(net(val_x), val_y).item()
    print("epoch", epoch, "train", round(seen / len(loader), 5), "validation mse", round(val, 5))
