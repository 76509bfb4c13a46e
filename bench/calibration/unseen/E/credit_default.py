"""Who will not pay back? Loans with categories (embedded) and amounts; few default, so each batch is drawn evenly of both."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import balanced_accuracy_score
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

SIZES = {"purpose": 8, "region": 12, "job": 6}


def make_loans(n, seed):
    effects = np.random.default_rng(77)
    per_level = [effects.normal(0, 1.1, size=k) for k in SIZES.values()]
    rng = np.random.default_rng(seed)
    cats = np.stack([rng.integers(k, size=n) for k in SIZES.values()], axis=1)
    income = rng.lognormal(10.3, 0.5, n)
    amount = rng.lognormal(9.2, 0.7, n)
    years = rng.integers(1, 11, n)
    arrears = rng.poisson(0.6, n)
    burden = np.log(amount / years / income * 12)
    risk = sum(effect[cats[:, j]] for j, effect in enumerate(per_level))
    risk = risk + 1.6 * (burden + 0.9) + 1.2 * np.minimum(arrears, 3) + 0.6 * np.abs(years - 5) - 5.2
    default = rng.random(n) < 1 / (1 + np.exp(-2.5 * risk))
    numbers = np.stack([np.log(income), np.log(amount), years, arrears], axis=1)
    return cats, numbers, default.astype("int64")


class Scorer(nn.Module):
    def __init__(self, width=48, drop=0.2):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(k, 4) for k in SIZES.values())
        self.fc1 = nn.Linear(4 * len(SIZES) + 4, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, 1)
        self.drop = drop

    def forward(self, cats, numbers):
        parts = [table(cats[:, j]) for j, table in enumerate(self.tables)]
        x = torch.cat([*parts, numbers], dim=1)
        x = F.dropout(F.relu(self.fc1(x)), self.drop, self.training)
        x = F.dropout(F.relu(self.fc2(x)), self.drop, self.training)
        return self.fc3(x).squeeze(1)


def as_dataset(cats, numbers, default, mean, std):
    scaled = torch.tensor((numbers - mean) / std, dtype=torch.float32)
    return TensorDataset(torch.tensor(cats), scaled, torch.tensor(default))


def score(model, dataset):
    cats, numbers, default = dataset.tensors
    model.eval()
    with torch.no_grad():
        said = model(cats, numbers) > 0
    return balanced_accuracy_score(default.numpy(), said.numpy())


def train(model, train_set, val_set, max_epochs=25, patience=5):
    default = train_set.tensors[2]
    per_class = 1.0 / torch.bincount(default).float()
    sampler = WeightedRandomSampler(per_class[default], num_samples=len(train_set))
    loader = DataLoader(train_set, batch_size=100, sampler=sampler)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    best, best_state, waited = 0.0, None, 0
    for epoch in range(max_epochs):
        model.train()
        for cats, numbers, y in loader:
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(cats, numbers), y.float())
            loss.backward()
            optimizer.step()
        now = score(model, val_set)
        print(f"epoch {epoch:2d} loss {loss.item():.4f} validation balanced accuracy {now:.4f}")
        if now > best:
            best, best_state, waited = now, copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
            if waited == patience:
                break
    model.load_state_dict(best_state)


if __name__ == "__main__":
    torch.manual_seed(5)
    raw = make_loans(6000, seed=1)
    mean, std = raw[1].mean(0), raw[1].std(0)
    train_set = as_dataset(*raw, mean, std)
    val_set = as_dataset(*make_loans(2000, seed=2), mean, std)
    test_set = as_dataset(*make_loans(2000, seed=3), mean, std)
    print(f"defaults: {raw[2].mean():.3f}")
    model = Scorer()
    train(model, train_set, val_set)
    print(f"test balanced accuracy {score(model, test_set):.4f}")
