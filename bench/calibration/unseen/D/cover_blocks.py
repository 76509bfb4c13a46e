"""A residual MLP for tables: which of five kinds of forest grows here? Large batches are put together from small ones."""

import argparse

import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def residual(width):
    return nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width))


class TableNet(nn.Module):
    def __init__(self, n_features, n_classes, width=64, depth=3):
        super().__init__()
        self.stem = nn.Linear(n_features, width)
        self.blocks = nn.ModuleList([residual(width) for _ in range(depth)])
        self.head = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, n_classes))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def get_data(seed):
    x, y = make_classification(
        n_samples=5000, n_features=20, n_informative=10, n_redundant=4, n_classes=5, n_clusters_per_class=2, class_sep=1.6, random_state=seed
    )
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=y)
    scaler = StandardScaler().fit(x_train)
    pack = lambda a, b: TensorDataset(torch.tensor(scaler.transform(a), dtype=torch.float32), torch.tensor(b))
    return pack(x_train, y_train), pack(x_test, y_test)


def evaluate(model, dataset):
    model.eval()
    x, y = dataset.tensors
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--batch-size", type=int, default=25, help="of what is in memory at once")
    p.add_argument("--accumulate", type=int, default=4)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--max-lr", type=float, default=0.15)
    p.add_argument("--seed", type=int, default=9)
    a = p.parse_args()

    torch.manual_seed(a.seed)
    train_set, test_set = get_data(a.seed)
    loader = DataLoader(train_set, batch_size=a.batch_size, shuffle=True, drop_last=True)
    model = TableNet(20, 5)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=a.max_lr, momentum=0.9, weight_decay=2e-3)
    updates = a.epochs * (len(loader) // a.accumulate)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, a.max_lr, total_steps=updates + 1)
    for epoch in range(a.epochs):
        model.train()
        running = 0.0
        optimizer.zero_grad()
        for i, (x, y) in enumerate(loader, start=1):
            loss = loss_fn(model(x), y)
            (loss / a.accumulate).backward()
            running += loss.item()
            if i % a.accumulate == 0:
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        print(f"epoch {epoch + 1}: loss {running / len(loader):.4f}, test accuracy {evaluate(model, test_set):.4f}")


if __name__ == "__main__":
    main()
