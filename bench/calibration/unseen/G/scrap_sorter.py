"""A conveyor of scrap metal: four alloys, the dearest of them rare, told apart by eight sensor readings."""

from copy import deepcopy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

SHARES = torch.tensor([0.66, 0.20, 0.09, 0.05])
SENSORS = 8


def conveyor(n, generator):
    alloy = torch.multinomial(SHARES, n, replacement=True, generator=generator)
    angle = alloy * 1.5 + 3.0 * torch.rand(n, generator=generator)
    radius = 0.6 + 0.4 * alloy + 0.09 * torch.randn(n, generator=generator)
    plane = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    bearing = torch.linspace(0, 3.0, SENSORS)
    lift = torch.stack([bearing.cos(), bearing.sin()])
    readings = torch.tanh(plane @ lift) + 0.02 * torch.randn(n, SENSORS, generator=generator)
    return readings, alloy


def balanced_loader(x, y, batch_size):
    per_class = 1.0 / torch.bincount(y, minlength=len(SHARES)).double()
    per_row = per_class[y]
    sampler = WeightedRandomSampler(per_row, num_samples=len(y), replacement=True)
    return DataLoader(TensorDataset(x, y), batch_size=batch_size, sampler=sampler)


class Sorter:
    """Trains; keeps the weights of the epoch that did best on the validation part."""

    def __init__(self, lr=3e-3, patience=6):
        self.net = nn.Sequential(nn.Linear(SENSORS, 48), nn.ELU(), nn.Linear(48, 48), nn.ELU(), nn.Linear(48, 4))
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=lr)
        self.patience = patience

    def train_epoch(self, loader):
        self.net.train()
        for readings, alloy in loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.net(readings), alloy)
            loss.backward()
            self.optimizer.step()

    @torch.no_grad()
    def measure(self, x, y):
        self.net.eval()
        logits = self.net(x)
        weight = len(y) / (len(SHARES) * torch.bincount(y, minlength=len(SHARES)).float())
        found = logits.argmax(dim=1)
        recall = torch.stack([(found[y == c] == c).float().mean() for c in range(len(SHARES))]).mean()
        return {"loss": nn.functional.cross_entropy(logits, y, weight=weight).item(), "recall": recall.item()}

    def fit(self, loader, x_val, y_val, epochs):
        best, since, kept = float("inf"), 0, None
        for epoch in range(epochs):
            self.train_epoch(loader)
            now = self.measure(x_val, y_val)
            print(f"[{epoch:02d}] val loss {now['loss']:.4f} val recall {now['recall']:.4f}")
            watched = now["loss"]
            if watched < best:
                best, since, kept = watched, 0, deepcopy(self.net.state_dict())
            else:
                since += 1
                if since >= self.patience:
                    print("no better any more")
                    break
        self.net.load_state_dict(kept)


if __name__ == "__main__":
    torch.manual_seed(0)
    belt = torch.Generator().manual_seed(42)
    x_train, y_train = conveyor(5000, belt)
    x_val, y_val = conveyor(2000, belt)
    x_test, y_test = conveyor(4000, belt)
    mean, std = x_train.mean(dim=0), x_train.std(dim=0)
    x_train, x_val, x_test = ((x - mean) / std for x in (x_train, x_val, x_test))
    sorter = Sorter()
    sorter.fit(balanced_loader(x_train, y_train, 100), x_val, y_val, epochs=20)
    print(f"test balanced accuracy {sorter.measure(x_test, y_test)['recall']:.4f}")
