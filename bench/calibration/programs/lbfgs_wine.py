"""All of the wine data at once, L-BFGS with a closure."""

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn


def main():
    torch.manual_seed(0)
    X, y = load_wine(return_X_y=True)
    X1, X2, y1, y2 = train_test_split(X, y, test_size=0.3, random_state=5, stratify=y)
    m, s = X1.mean(0), X1.std(0)
    X1, X2 = (torch.tensor((a - m) / s, dtype=torch.float32) for a in (X1, X2))
    y1, y2 = torch.tensor(y1), torch.tensor(y2)

    model = nn.Sequential(nn.Linear(13, 16), nn.Tanh(), nn.Linear(16, 3))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")
    penalty = 2e-3

    def closure():
        optimizer.zero_grad()
        loss = criterion(model(X1), y1)
        loss = loss + penalty * sum(p.pow(2).sum() for p in model.parameters())
        loss.backward()
        return loss

    for i in range(12):
        loss = optimizer.step(closure)
        with torch.no_grad():
            val = criterion(model(X2), y2).item()
        print(f"step {i}: objective {loss.item():.4f}, validation loss {val:.4f}")


if __name__ == "__main__":
    main()
