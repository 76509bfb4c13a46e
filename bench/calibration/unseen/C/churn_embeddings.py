"""Which customers leave? Categorical columns are embedded, numeric ones standardised; leaving is rare."""

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, Dataset

CARDS = (12, 30, 7)  # tariff, region, device


def make_customers(n, rng):
    effects = [rng.normal(size=c) for c in CARDS]
    cats = np.stack([rng.integers(0, c, n) for c in CARDS], axis=1)
    z = rng.normal(size=(n, 5))
    leaning = sum(1.3 * effects[i][cats[:, i]] for i in range(3)) + 1.5 * z[:, 0] - z[:, 1] + z[:, 2] * z[:, 3]
    leaning += 0.2 * rng.normal(size=n)
    left = leaning > np.quantile(leaning, 0.88)
    nums = z * [40.0, 3.0, 900.0, 1.0, 12.0] + [200.0, 5.0, 4000.0, 0.0, 30.0]
    return cats, nums, left.astype("float32")


class Customers(Dataset):
    def __init__(self, cats, nums, left):
        self.cats = torch.as_tensor(cats)
        self.nums = torch.as_tensor(nums, dtype=torch.float32)
        self.left = torch.as_tensor(left)

    def __len__(self):
        return len(self.left)

    def __getitem__(self, i):
        return self.cats[i], self.nums[i], self.left[i]


class ChurnNet(nn.Module):
    def __init__(self, cards, n_num, width=64, p=0.1):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(c, 6) for c in cards])
        n_in = 6 * len(cards) + n_num
        self.body = nn.Sequential(
            nn.Linear(n_in, width),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(width, 1),
        )

    def forward(self, cats, nums):
        embedded = [table(cats[:, i]) for i, table in enumerate(self.tables)]
        return self.body(torch.cat([*embedded, nums], dim=1)).squeeze(1)


def train_epoch(net, loader, criterion, opt):
    net.train()
    total = 0.0
    for cats, nums, left in loader:
        opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(cats, nums)
        loss = criterion(logits.float(), left)
        loss.backward()
        opt.step()
        total += loss.item() * len(left)
    return total / len(loader.dataset)


@torch.no_grad()
def balanced_accuracy(net, loader):
    net.eval()
    guesses, truth = [], []
    for cats, nums, left in loader:
        guesses.append(net(cats, nums) > 0)
        truth.append(left)
    return balanced_accuracy_score(torch.cat(truth), torch.cat(guesses))


def main():
    torch.manual_seed(3)
    cats, nums, left = make_customers(5000, np.random.default_rng(7))
    cut = 4000
    scaler = StandardScaler().fit(nums[:cut])
    train_set = Customers(cats[:cut], scaler.transform(nums[:cut]), left[:cut])
    held_out = Customers(cats[cut:], scaler.transform(nums[cut:]), left[cut:])
    train_loader = DataLoader(train_set, batch_size=128, shuffle=True)
    test_loader = DataLoader(held_out, batch_size=500)

    net = ChurnNet(CARDS, n_num=5)
    n_pos = train_set.left.sum()
    n_neg = len(train_set) - n_pos
    criterion = nn.BCEWithLogitsLoss(pos_weight=n_neg / n_pos)
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    for epoch in range(14):
        loss = train_epoch(net, train_loader, criterion, opt)
        print(f"epoch {epoch:2d}  loss {loss:.4f}  held-out balanced accuracy {balanced_accuracy(net, test_loader):.4f}")


if __name__ == "__main__":
    main()
