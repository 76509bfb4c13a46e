"""Several labels for each sample: sigmoid cross entropy and the F1 score."""

import torch
import torch.nn as nn
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader, TensorDataset, random_split


def dataset():
    X, Y = make_multilabel_classification(n_samples=1600, n_features=30, n_classes=6, n_labels=2, random_state=2)
    X = torch.tensor(X, dtype=torch.float32)
    X = (X - X.mean(0)) / X.std(0)
    return TensorDataset(X, torch.tensor(Y, dtype=torch.float32))


class MultiLabelNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(30, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 6))

    def forward(self, x):
        return self.net(x)


def fit_one_epoch(model, loader, criterion, optimizer):
    model.train()
    losses = []
    for features, labels in loader:
        scores = model(features)
        loss = criterion(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def f1_of(model, loader):
    model.eval()
    truth, guess = [], []
    with torch.no_grad():
        for features, labels in loader:
            guess.append(model(features) > 0)
            truth.append(labels)
    return f1_score(torch.cat(truth).numpy(), torch.cat(guess).numpy(), average="micro", zero_division=0)


def main():
    torch.manual_seed(8)
    train_set, val_set = random_split(dataset(), [1200, 400])
    train_loader = DataLoader(train_set, batch_size=30, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=100)
    model = MultiLabelNet()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.NAdam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        loss = fit_one_epoch(model, train_loader, criterion, optimizer)
        print(f"epoch {epoch}: loss {loss:.4f}, f1 on validation {f1_of(model, val_loader):.4f}")


if __name__ == "__main__":
    main()
