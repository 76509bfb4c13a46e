# Grades from 0 to 4 for tasted oils: ordinal regression (one score, four ordered thresholds), eight narrow layers.
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(8)
rng = np.random.default_rng(8)

# --- data: ten measurements, a hidden quality, five grades
n, n_train, grades = 7500, 6000, 5
a = rng.normal(size=(n, 10)) * np.array([1, 2, 0.5, 3, 1, 1, 4, 0.2, 1, 2]) + np.array([5, 0, 1, 20, 7, -3, 0, 1, 2, 9])
b = (a - a[:n_train].mean(0)) / a[:n_train].std(0)
quality = b[:, 0] + 0.5 * b[:, 1] * b[:, 2] + np.sin(1.5 * b[:, 3]) - 0.5 * b[:, 4] ** 2 + 0.5 * b[:, 5] + rng.normal(0, 0.25, n)
cuts = np.quantile(quality[:n_train], [0.2, 0.4, 0.6, 0.8])
X = torch.tensor(b, dtype=torch.float32)
Y = torch.tensor(np.searchsorted(cuts, quality))
X_tr, Y_tr, X_te, Y_te = X[:n_train], Y[:n_train], X[n_train:], Y[n_train:]

# --- network
depth, width = 8, 32
layers = []
for k in range(depth):
    linear = nn.Linear(10 if k == 0 else width, width)
    nn.init.xavier_normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    layers += [linear, nn.Tanh()]
net = nn.Sequential(*layers, nn.Linear(width, 1))
first_cut = nn.Parameter(torch.tensor(-1.5))
gaps = nn.Parameter(torch.zeros(grades - 2))


def logits_above(x):
    """Log-odds that the grade lies above each of the thresholds."""
    cut = torch.cat([first_cut[None], first_cut + F.softplus(gaps).cumsum(0)])
    return net(x) - cut


def ordinal_loss(logits, y):
    above = (y[:, None] > torch.arange(grades - 1)).float()
    return F.binary_cross_entropy_with_logits(logits, above, reduction="none").sum(1).mean()


# --- training
epochs, batch = 12, 80
weights = [*net.parameters(), first_cut, gaps]
opt = torch.optim.AdamW(weights, lr=1.5e-3, weight_decay=0.05)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=epochs)
for epoch in range(epochs):
    net.train()
    order = torch.randperm(n_train)
    for start in range(0, n_train, batch):
        rows = order[start : start + batch]
        opt.zero_grad()
        loss = ordinal_loss(logits_above(X_tr[rows]), Y_tr[rows])
        loss.backward()
        opt.step()
    sched.step()
    net.eval()
    with torch.no_grad():
        out = logits_above(X_te)
        test_loss = ordinal_loss(out, Y_te).item()
        grade = (out > 0).sum(1)
        off = (grade - Y_te).abs().float().mean().item()
    if epoch % 2 == 1:
        print(f"{epoch + 1:3d} train {loss.item():.4f} test {test_loss:.4f} mean grades off {off:.4f}")
