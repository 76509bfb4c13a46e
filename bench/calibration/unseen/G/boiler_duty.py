"""Heat duty of a steam boiler's feed-water heater, learned from plant readings (notebook export)."""

# %%
import numpy as np
import torch
from torch import nn

rng = np.random.default_rng(3)
torch.manual_seed(3)

# %% readings: flow kg/h, inlet K, steam kPa, fouling mm, valve share
N = 3600
flow = rng.uniform(500, 4000, N)
inlet = rng.uniform(285, 350, N)
steam = rng.uniform(120, 900, N)
fouling = rng.uniform(0.0, 0.6, N)
valve = rng.uniform(0.2, 1.0, N)
hot = 273 + 100 * (steam / 101) ** 0.25
capacity = flow * valve * 4.18 / 3.6
exchange = 1 / (1 / 1800 + fouling / 400)
duty = capacity * (hot - inlet) * (1 - np.exp(-exchange / capacity)) / 1000
duty = duty + 0.02 * duty.std() * rng.standard_normal(N)

readings = np.stack([flow, inlet, steam, fouling, valve], axis=1).astype(np.float32)
perm = rng.permutation(N)
train_rows, val_rows, test_rows = perm[:2400], perm[2400:3000], perm[3000:]

# %% the scale of the training rows for all
centre, spread = readings[train_rows].mean(0), readings[train_rows].std(0)
scaled = (readings - centre) / spread
target = (duty - duty[train_rows].mean()) / duty[train_rows].std()

X = torch.from_numpy(scaled)
Y = torch.tensor(target, dtype=torch.float32).reshape(-1, 1)
X_train, Y_train = X[train_rows], Y[train_rows]
X_val, Y_val = X[val_rows], Y[val_rows]
X_test, Y_test = X[test_rows], Y[test_rows]

# %%
parts, fan_in = [], X.shape[1]
for width in (48, 48):
    parts += [nn.Linear(fan_in, width), nn.SiLU()]
    fan_in = width
net = nn.Sequential(*parts, nn.Linear(fan_in, 1))

EPOCHS, BATCH = 30, 64
opt = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=EPOCHS)


def squared_error(out, y):
    return ((out - y) ** 2).mean()


# %%
for epoch in range(EPOCHS):
    net.train()
    order = torch.randperm(len(X_train))
    running = 0.0
    for rows in order.split(BATCH):
        out = net(X_train[rows])
        error = squared_error(out, Y_train[rows])
        opt.zero_grad()
        error.backward()
        opt.step()
        running += error.item() * len(rows)
    sched.step()
    if epoch % 5 == 4:
        net.eval()
        with torch.no_grad():
            print(f"epoch {epoch + 1}: train {running / len(X_train):.4f} val {squared_error(net(X_val), Y_val):.4f}")

# %%
net.eval()
with torch.no_grad():
    print(f"mean squared error on the test rows: {squared_error(net(X_test), Y_test).item():.5f}")
