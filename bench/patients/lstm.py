"""A two-layer LSTM that predicts the next value of made-up series: a loop that notes how long its steps took."""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn

LENGTH, HIDDEN, BATCH, CHANNELS = 48, 128, 32, 8


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(CHANNELS, HIDDEN, num_layers=2, batch_first=True)
        self.head = nn.Linear(HIDDEN, CHANNELS)

    def forward(self, series):
        return self.head(self.lstm(series)[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--times", type=Path, required=True)
    args = parser.parse_args()

    torch.manual_seed(0)
    time_ = torch.arange(20_000)[:, None] * torch.linspace(0.01, 0.2, CHANNELS)
    series = torch.sin(time_) + 0.1 * torch.randn(time_.shape)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.MSELoss()

    wall, cpu = [time.perf_counter()], [time.process_time()]
    for _ in range(args.steps):
        starts = torch.randint(len(series) - LENGTH - 1, (BATCH,)).tolist()
        batch = torch.stack([series[start : start + LENGTH + 1] for start in starts])
        loss = criterion(model(batch[:, :-1]), batch[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        wall.append(time.perf_counter())
        cpu.append(time.process_time())
    args.times.write_text(json.dumps({"wall": wall, "cpu": cpu, "loss": loss.item()}))


if __name__ == "__main__":
    main()
