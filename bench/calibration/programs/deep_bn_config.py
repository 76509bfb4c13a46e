"""A deep perceptron with batch normalisation; everything that can be set is in Config."""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    depth: int = 6
    width: int = 48
    lr: float = 2e-3
    batch_size: int = 32
    epochs: int = 8
    bn_momentum: float = 0.1
    seed: int = 11


def block(n_in, n_out, cfg):
    return [nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out, momentum=cfg.bn_momentum), nn.ReLU()]


def make_model(cfg):
    layers = block(64, cfg.width, cfg)
    for _ in range(cfg.depth - 1):
        layers.extend(block(cfg.width, cfg.width, cfg))
    layers.append(nn.Linear(cfg.width, 10))
    return nn.Sequential(*layers)


def make_loaders(cfg):
    x, y = load_digits(return_X_y=True)
    x_tr, x_te, y_tr, y_te = train_test_split(x / 16, y, test_size=0.25, random_state=cfg.seed)
    train_ds = TensorDataset(torch.from_numpy(x_tr).float(), torch.from_numpy(y_tr))
    test_ds = TensorDataset(torch.from_numpy(x_te).float(), torch.from_numpy(y_te))
    return (
        DataLoader(train_ds, cfg.batch_size, shuffle=True, drop_last=True),
        DataLoader(test_ds, 150),
    )


def accuracy_of(model, loader):
    model.eval()
    hits = total = 0
    with torch.no_grad():
        for xb, yb in loader:
            hits += (model(xb).argmax(1) == yb).sum().item()
            total += yb.numel()
    return hits / total


def main(cfg):
    torch.manual_seed(cfg.seed)
    train_dl, test_dl = make_loaders(cfg)
    model = make_model(cfg)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(cfg.epochs):
        model.train()
        for xb, yb in train_dl:
            loss = criterion(model(xb), yb)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        scheduler.step()
        print(f"epoch {epoch}: last loss {loss.item():.4f}, test accuracy {accuracy_of(model, test_dl):.4f}")


if __name__ == "__main__":
    main(Config())
