"""Regression with its own error bars: a network that gives mean and variance, by Gaussian likelihood.

The loss is a negative log density, so it may well go below zero.
"""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class MeanVarianceNet(nn.Module):
    def __init__(self, n_features, n_hidden=16):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_features, n_hidden), nn.Tanh(), nn.Linear(n_hidden, n_hidden), nn.Tanh())
        self.mean = nn.Linear(n_hidden, 1)
        self.raw_var = nn.Linear(n_hidden, 1)

    def forward(self, x):
        h = self.body(x)
        var = F.softplus(self.raw_var(h)) + 1e-3
        return self.mean(h).squeeze(-1), var.squeeze(-1)


def load_data():
    """Predict the mean perimeter of a tumour's cells from the other measurements of its texture and extremes."""
    bunch = load_breast_cancer()
    names = list(bunch.feature_names)
    target = names.index("mean perimeter")
    leaked = {target, names.index("mean radius"), names.index("mean area")}
    keep = [i for i in range(len(names)) if i not in leaked]
    X, y = bunch.data[:, keep], bunch.data[:, [target]]
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, random_state=0)
    sx, sy = StandardScaler().fit(X_train), StandardScaler().fit(y_train)

    def pack(a, b):
        return TensorDataset(torch.Tensor(sx.transform(a)), torch.Tensor(sy.transform(b)).squeeze(-1))

    return pack(X_train, y_train), pack(X_val, y_val)


def main():
    torch.manual_seed(11)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train_ds, val_ds = load_data()
    loader = DataLoader(train_ds, batch_size=32, shuffle=True)
    x_val, y_val = (t.to(device) for t in val_ds.tensors)

    model = MeanVarianceNet(x_val.shape[1]).to(device)
    nll = nn.GaussianNLLLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for epoch in range(50):
        model.train()
        total = 0.0
        for xb, yb in loader:
            xb, yb = xb.to(device), yb.to(device)
            mean, var = model(xb)
            loss = nll(mean, yb, var)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += loss.item() * len(xb)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            mean, var = model(x_val)
            val_loss = nll(mean, y_val, var).item()
            rmse = F.mse_loss(mean, y_val).sqrt().item()
            inside = ((mean - y_val).abs() < var.sqrt()).float().mean().item()
        if epoch % 5 == 4:
            print(
                f"epoch {epoch + 1:3d}  train nll {total / len(train_ds):+.3f}  val nll {val_loss:+.3f}  "
                f"rmse {rmse:.3f}  within one sigma {inside:.0%}"
            )


if __name__ == "__main__":
    main()
