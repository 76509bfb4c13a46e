"""Disease progression from ten measurements: regression with plain SGD and Nesterov momentum."""

import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Regressor(nn.Module):
    def __init__(self, n_in, n_hidden):
        super().__init__()
        self.hidden = nn.Linear(n_in, n_hidden)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(n_hidden, 1)

    def forward(self, x):
        return self.out(self.drop(self.act(self.hidden(x)))).squeeze(1)


def prepare(seed=0):
    X, y = load_diabetes(return_X_y=True, scaled=False)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed)).numpy()
    train, val = order[:330], order[330:]
    x_scaler = StandardScaler().fit(X[train])
    y_mean, y_std = y[train].mean(), y[train].std()
    X = torch.tensor(x_scaler.transform(X), dtype=torch.float32)
    y = torch.tensor((y - y_mean) / y_std, dtype=torch.float32)
    return TensorDataset(X[train], y[train]), TensorDataset(X[val], y[val])


def epoch_of(model, loader, loss_fn, optimizer=None):
    total = 0.0
    for x, y in loader:
        pred = model(x)
        loss = loss_fn(pred, y)
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        total += loss.item() * len(y)
    return total / len(loader.dataset)


def main():
    torch.manual_seed(0)
    train_set, val_set = prepare()
    train_loader = DataLoader(train_set, batch_size=16, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=56)
    model = Regressor(10, 32)
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9, nesterov=True, weight_decay=1e-3)
    for epoch in range(20):
        model.train()
        train_loss = epoch_of(model, train_loader, loss_fn, optimizer)
        model.eval()
        with torch.no_grad():
            val_loss = epoch_of(model, val_loader, loss_fn)
        print(f"{epoch:2d}: train {train_loss:.4f}, validation {val_loss:.4f}")


if __name__ == "__main__":
    main()
