"""A perceptron trained for very many steps, which notes how much memory it holds as it goes."""

import argparse
import json
from pathlib import Path

import torch
from torch import nn


def resident():
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    torch.manual_seed(0)
    data = torch.randn(4096, 16)
    target = (data @ torch.randn(16, 3)).argmax(1)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    criterion = nn.CrossEntropyLoss()
    held = []
    for step in range(args.steps):
        start = step * 32 % 4096
        optimizer.zero_grad()
        loss = criterion(model(data[start : start + 32]), target[start : start + 32])
        loss.backward()
        optimizer.step()
        if step % (args.steps // 10) == args.steps // 10 - 1:
            held.append(resident())
    args.out.write_text(json.dumps({"resident": held, "loss": loss.item()}))


if __name__ == "__main__":
    main()
