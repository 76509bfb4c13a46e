"""A net trained on digits 0-4, then adapted to 5-9 through low-rank adapters only; its own weights stay as they are."""

import math

import torch
from sklearn.datasets import load_digits
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, rank: int = 4, alpha: float = 8.0):
        super().__init__()
        self.base = base
        self.base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T * self.scale


def loaders(low, high):
    digits = load_digits()
    chosen = (digits.target >= low) & (digits.target < high)
    x = torch.tensor(digits.data[chosen] / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target[chosen] - low)
    cut = int(0.8 * len(x))
    train = torch.utils.data.TensorDataset(x[:cut], y[:cut])
    return torch.utils.data.DataLoader(train, batch_size=32, shuffle=True), x[cut:], y[cut:]


def fit(model, parameters, task, epochs, lr):
    loader, x_val, y_val = loaders(*task)
    optimizer = torch.optim.Adam(parameters, lr=lr)
    criterion = nn.CrossEntropyLoss()
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
    with torch.no_grad():
        return (model(x_val).argmax(1) == y_val).float().mean().item()


def main():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    print(f"digits 0-4: {fit(model, model.parameters(), (0, 5), 6, 3e-3):.3f}")
    for index in (0, 2, 4):
        model[index] = LoRALinear(model[index])
    adapters = [p for p in model.parameters() if p.requires_grad]
    print(f"adapting {sum(p.numel() for p in adapters)} of {sum(p.numel() for p in model.parameters())} weights")
    print(f"digits 5-9: {fit(model, adapters, (5, 10), 15, 1e-2):.3f}")


if __name__ == "__main__":
    main()
