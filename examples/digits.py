"""Train a small convolutional network on scikit-learn's handwritten digits.

This program runs, and even seems to learn, but it has five planted faults of the kind learners make.
Each stands on a line that ends in a comment "fault: ...". `healthy.py` is the same program, cured.
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset


def to_tensor(image):
    """Turn a picture of bytes (0..255) into a float tensor (0..1), channels first."""
    return torch.from_numpy(image).permute(2, 0, 1).float().div(255)


class Digits(Dataset):
    def __init__(self, train):
        bunch = load_digits()
        images = (bunch.images * 255 / 16).astype(np.uint8)[..., None]
        order = np.random.default_rng(0).permutation(len(images))
        keep = order[:1400] if train else order[1400:]
        self.images, self.labels = images[keep], bunch.target[keep]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return to_tensor(self.images[i]), self.labels[i]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),  # fault: the batch norm below cancels this bias
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Linear(32 * 16, 64), nn.ReLU(), nn.Dropout(0.4), nn.Linear(64, 10))

    def forward(self, x):
        x = self.head(self.features(x))
        return torch.softmax(x, dim=1)  # fault: CrossEntropyLoss takes logits and does this itself


def train_epoch(model, loader, loss_fn, optimizer, device):
    model.train()
    total = 0.0
    for x, y in loader:
        x, y = x.to(device) / 255, y.to(device)  # fault: to_tensor has divided by 255 already
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    return total / len(loader.dataset)


def evaluate(model, loader, loss_fn, device):
    total, correct = 0.0, 0
    with torch.no_grad():  # fault: no model.eval(), so dropout and batch norm stay in training mode
        for x, y in loader:
            x, y = x.to(device) / 255, y.to(device)  # fault: to_tensor has divided by 255 already
            out = model(x)
            total += loss_fn(out, y).item() * len(y)
            correct += (out.argmax(1) == y).sum().item()
    return total / len(loader.dataset), correct / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader = DataLoader(Digits(train=True), batch_size=32, shuffle=True)
    val_loader = DataLoader(Digits(train=False), batch_size=128)

    model = Net().to(device)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.features.parameters(), lr=args.lr)  # fault: the head never learns
    for epoch in range(1, args.epochs + 1):
        loss = train_epoch(model, train_loader, loss_fn, optimizer, device)
        val_loss, val_acc = evaluate(model, val_loader, loss_fn, device)
        print(f"epoch {epoch}  loss {loss:.4f}  val_loss {val_loss:.4f}  val_acc {val_acc:.3f}")


if __name__ == "__main__":
    main()
