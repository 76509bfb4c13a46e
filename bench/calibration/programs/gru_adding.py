"""The adding problem: a GRU reads numbers and marks, and gives the sum of the two marked numbers."""

import argparse

import torch
import torch.nn as nn


def adding_problem(count, length):
    values = torch.rand(count, length)
    marks = torch.zeros(count, length)
    first = torch.randint(0, length // 2, (count,))
    second = torch.randint(length // 2, length, (count,))
    rows = torch.arange(count)
    marks[rows, first] = 1.0
    marks[rows, second] = 1.0
    targets = values[rows, first] + values[rows, second] - 1.0
    return torch.stack([values, marks], dim=2), targets


class Adder(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, x):
        _, last = self.gru(x)
        return self.linear(last[0]).squeeze(-1)


def main(opt):
    torch.manual_seed(opt.seed)
    x_train, y_train = adding_problem(2560, opt.length)
    x_val, y_val = adding_problem(512, opt.length)
    model = Adder()
    mse = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=opt.lr)
    for epoch in range(opt.epochs):
        model.train()
        running = 0.0
        for idx in torch.randperm(len(x_train)).split(64):
            optimizer.zero_grad()
            pred = model(x_train[idx])
            loss = mse(pred, y_train[idx])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), opt.clip)
            optimizer.step()
            running += loss.item() * len(idx)
        model.eval()
        with torch.no_grad():
            val = mse(model(x_val), y_val).item()
        print(f"epoch {epoch}: train mse {running / len(x_train):.5f}, validation mse {val:.5f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--length", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", type=float, default=8e-3)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
