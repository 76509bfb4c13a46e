"""Digits with torch.compile, whose model is one graph to whoever looks on."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
data = load_digits()
X = torch.tensor(data.data, dtype=torch.float32).div(16)
Y = torch.tensor(data.target)
order = torch.randperm(len(X))
train, test = order[:1500], order[1500:]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 96)
        self.norm = nn.LayerNorm(96)
        self.fc2 = nn.Linear(96, 10)

    def forward(self, x):
        return self.fc2(F.gelu(self.norm(self.fc1(x))))


net = Net()
fast = torch.compile(net, backend="aot_eager")
opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
for epoch in range(6):
    net.train()
    for xb, yb in DataLoader(TensorDataset(X[train], Y[train]), batch_size=100, shuffle=True):
        loss = F.cross_entropy(fast(xb), yb)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = (net(X[test]).argmax(1) == Y[test]).float().mean()
    print(f"{epoch} {loss.item():.3f} {acc:.3f}")
