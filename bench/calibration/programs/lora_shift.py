"""Low-rank adaption: a network trained on digits is adapted to rotated ones by a few extra numbers per layer."""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits


class LoRALinear(nn.Module):
    def __init__(self, base, rank=4, alpha=8):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.A.T) @ self.B.T


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 96)
        self.fc2 = nn.Linear(96, 96)
        self.fc3 = nn.Linear(96, 10)

    def forward(self, x):
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


def fit(model, x, y, lr, epochs, batch=64):
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=lr)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            loss = loss_fn(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
        yield epoch, loss.item()


def accuracy(model, x, y):
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


torch.manual_seed(21)
digits = load_digits()
upright = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
labels = torch.tensor(digits.target)
order = torch.randperm(len(labels))
upright, labels = upright[order], labels[order]
rotated = upright.rot90(1, (1, 2)).flatten(1)
upright = upright.flatten(1)
train, test = slice(0, 1400), slice(1400, None)

model = Net()
for epoch, loss in fit(model, upright[train], labels[train], lr=1e-3, epochs=8):
    pass
print(f"before: upright {accuracy(model, upright[test], labels[test]):.3f}")
print(f"before: rotated {accuracy(model, rotated[test], labels[test]):.3f}")

for p in model.parameters():
    p.requires_grad_(False)
model.fc1 = LoRALinear(model.fc1)
model.fc2 = LoRALinear(model.fc2)
model.fc3 = LoRALinear(model.fc3)
for epoch, loss in fit(model, rotated[train], labels[train], lr=5e-3, epochs=8):
    print(f"epoch {epoch}: loss {loss:.4f}, rotated {accuracy(model, rotated[test], labels[test]):.4f}")
