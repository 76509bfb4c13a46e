"""A convolutional network without normalisation on made-up pictures: a loop that notes how long its steps took."""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--times", type=Path, required=True)
    args = parser.parse_args()

    torch.manual_seed(0)
    labels = torch.arange(2048) % 10
    pictures = torch.randn(2048, 3, 32, 32) + labels.view(-1, 1, 1, 1) / 5
    loader = DataLoader(TensorDataset(pictures, labels), batch_size=32, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 10),
    )
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    wall, cpu, losses = [time.perf_counter()], [time.process_time()], []
    while len(losses) < args.steps:
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            wall.append(time.perf_counter())
            cpu.append(time.process_time())
            if len(losses) == args.steps:
                break
    args.times.write_text(json.dumps({"wall": wall, "cpu": cpu, "loss": losses[-1]}))


if __name__ == "__main__":
    main()
