"""Depthwise separable convolutions, trained with RMSprop and gradient accumulation."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn


def separable(cin, cout):
    return nn.Sequential(
        nn.Conv2d(cin, cin, kernel_size=3, padding=1, groups=cin, bias=False),
        nn.Conv2d(cin, cout, kernel_size=1, bias=False),
        nn.GroupNorm(4, cout),
        nn.Hardswish(),
    )


def get_args():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--epochs", default=10, type=int)
    p.add_argument("--lr", default=1e-3, type=float)
    p.add_argument("--micro-batch", default=16, type=int)
    p.add_argument("--accumulate", default=4, type=int)
    return p.parse_args()


def main():
    args = get_args()
    torch.manual_seed(9)
    digits = load_digits()
    x = torch.tensor(digits.images).float().unsqueeze(1).div(16).sub(0.5).mul(2)
    y = torch.tensor(digits.target)
    order = torch.randperm(len(y))
    x, y = x[order], y[order]
    n_val = 360
    x_train, y_train, x_val, y_val = x[n_val:], y[n_val:], x[:n_val], y[:n_val]

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.Hardswish(),
        separable(16, 32),
        nn.MaxPool2d(2),
        separable(32, 48),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(48 * 4, 10),
    )
    optimizer = torch.optim.RMSprop(model.parameters(), lr=args.lr, alpha=0.95)
    loss_function = nn.CrossEntropyLoss()

    for epoch in range(args.epochs):
        model.train()
        optimizer.zero_grad()
        for i, rows in enumerate(torch.randperm(len(x_train)).split(args.micro_batch)):
            loss = loss_function(model(x_train[rows]), y_train[rows]) / args.accumulate
            loss.backward()
            if (i + 1) % args.accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            scores = model(x_val)
            val_loss = loss_function(scores, y_val).item()
            val_acc = (scores.argmax(1) == y_val).float().mean().item()
        print(f"epoch {epoch}  val_loss={val_loss:.4f}  val_acc={val_acc:.4f}")


if __name__ == "__main__":
    main()
