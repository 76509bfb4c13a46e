"""Benign or malignant: a self-normalising network on the breast cancer data."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn


def get_data():
    data = load_breast_cancer()
    x_train, x_val, y_train, y_val = train_test_split(data.data, data.target, test_size=0.3, random_state=7)
    mean, std = x_train.mean(0), x_train.std(0)
    x_train, x_val = (x_train - mean) / std, (x_val - mean) / std
    to = lambda a: torch.tensor(a, dtype=torch.float32)
    return to(x_train), to(x_val), to(y_train), to(y_val)


def build_net(n_in, n_hidden=32, depth=3, p=0.05):
    layers = []
    for _ in range(depth):
        linear = nn.Linear(n_in, n_hidden)
        nn.init.normal_(linear.weight, std=n_in**-0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.SELU(), nn.AlphaDropout(p)]
        n_in = n_hidden
    return nn.Sequential(*layers, nn.Linear(n_in, 1))


def run():
    torch.manual_seed(7)
    x_train, x_val, y_train, y_val = get_data()
    net = build_net(x_train.shape[1])
    criterion = nn.BCEWithLogitsLoss()
    opt = torch.optim.AdamW(net.parameters(), lr=5e-4, weight_decay=0.05)
    for epoch in range(25):
        net.train()
        perm = torch.randperm(len(x_train))
        for i in range(0, len(perm), 32):
            idx = perm[i : i + 32]
            opt.zero_grad()
            out = net(x_train[idx]).squeeze(1)
            loss = criterion(out, y_train[idx])
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            out = net(x_val).squeeze(1)
            val_loss = criterion(out, y_val).item()
            acc = ((out > 0) == (y_val > 0.5)).float().mean().item()
        if epoch % 5 == 4:
            print(f"{epoch + 1:3d}: loss {loss.item():.4f} val {val_loss:.4f} acc {acc:.4f}")
    print(f"validation loss {val_loss:.4f}")


if __name__ == "__main__":
    run()
