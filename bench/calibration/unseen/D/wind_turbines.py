"""How much power will a turbine give, and how sure is that? Mean and spread from one net, by the likelihood of a Gaussian."""
import numpy as np
import torch
import torch.nn as nn

torch.manual_seed(5)
rng = np.random.default_rng(5)

# %% the weather at a turbine, and what it gave (in kW)
N = 3000
speed = 11 * rng.weibull(2.0, N)  # m/s
pressure = rng.normal(101_000, 900, N)  # Pa
temperature = rng.normal(284, 8, N)  # K
gusts = rng.uniform(0, 1, N)
density = pressure / (287 * temperature)
curve = 2000 / (1 + np.exp(-(speed * (density / 1.24) ** (1 / 3) - 9) / 1.5))
noise = 30 + 260 * gusts * curve / 2000 * (1 - curve / 2000) * 4
power = curve + noise * rng.standard_normal(N)

X = torch.tensor(np.stack([speed, pressure, temperature, gusts], axis=1), dtype=torch.float32)
Y = torch.tensor(power, dtype=torch.float32)
X_train, X_val, X_test = X[:2000], X[2000:2500], X[2500:]
Y_train, Y_val, Y_test = Y[:2000], Y[2000:2500], Y[2500:]

# %% scaled by what the training part says
m, s = X_train.mean(0), X_train.std(0)
X_train, X_val, X_test = (X_train - m) / s, (X_val - m) / s, (X_test - m) / s
ym, ys = Y_train.mean(), Y_train.std()
Y_train, Y_val, Y_test = (Y_train - ym) / ys, (Y_val - ym) / ys, (Y_test - ym) / ys


# %%
class PowerNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh())
        self.mean = nn.Linear(48, 1)
        self.log_var = nn.Linear(48, 1)

    def forward(self, x):
        h = self.body(x)
        return self.mean(h).squeeze(1), self.log_var(h).squeeze(1)


def nll(mean, log_var, y):
    squared = (y - mean) ** 2
    return (0.5 * log_var + 0.5 * squared / log_var.exp()).mean()


net = PowerNet()
opt = torch.optim.Adam(net.parameters(), lr=4e-3)
halve = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=3)

# %%
for epoch in range(24):
    net.train()
    order = torch.randperm(len(X_train))
    for i in range(0, len(X_train), 50):
        b = order[i : i + 50]
        opt.zero_grad()
        mean, log_var = net(X_train[b])
        loss = nll(mean, log_var, Y_train[b])
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        val = nll(*net(X_val), Y_val).item()
    halve.step(val)
    if epoch % 4 == 3:
        print(f"{epoch=} {loss.item()=:.3f} {val=:.4f}")

# %% nats an hour, without the constant
with torch.no_grad():
    print("test NLL", round(nll(*net(X_test), Y_test).item(), 4))
