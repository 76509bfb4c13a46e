"""Which of four wave forms is it? 1-D convolutions on noisy signals of random phase and length."""

import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

KINDS = 4
LENGTH = 64


def make_signals(n, generator):
    t = torch.arange(LENGTH) / LENGTH
    freq = 2 + 2 * torch.rand(n, 1, generator=generator)
    phase = torch.rand(n, 1, generator=generator)
    angle = freq * t + phase
    kind = torch.randint(KINDS, (n,), generator=generator)
    waves = torch.stack(
        [
            torch.sin(2 * math.pi * angle),
            torch.sign(torch.sin(2 * math.pi * angle)),
            2 * (angle % 1) - 1,
            4 * ((angle % 1) - 0.5).abs() - 1,
        ],
        dim=1,
    )
    signals = waves[torch.arange(n), kind]
    return (signals + 0.3 * torch.randn(n, LENGTH, generator=generator)).unsqueeze(1), kind


class WaveNet(nn.Module):
    def __init__(self, channels=16):
        super().__init__()
        self.conv1 = nn.Conv1d(1, channels, 7, padding=3)
        self.bn1 = nn.BatchNorm1d(channels)
        self.conv2 = nn.Conv1d(channels, 2 * channels, 5, stride=2, padding=2)
        self.bn2 = nn.BatchNorm1d(2 * channels)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.out = nn.Linear(2 * channels, KINDS)

    def forward(self, x):
        x = nn.functional.gelu(self.bn1(self.conv1(x)))
        x = nn.functional.gelu(self.bn2(self.conv2(x)))
        return self.out(self.pool(x).squeeze(-1))


def main():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    train_set = TensorDataset(*make_signals(1600, generator))
    val_set = TensorDataset(*make_signals(600, generator))
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=200)

    model = WaveNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(6):
        model.train()
        for signals, kinds in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(signals), kinds)
            loss.backward()
            optimizer.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for signals, kinds in val_loader:
                correct += (model(signals).argmax(1) == kinds).sum().item()
        print(f"Epoch {epoch}: val accuracy {correct / len(val_set):.4f}")


if __name__ == "__main__":
    main()
