"""Benign or malignant? Measurements of cells pass gated layers; a trainer with early stopping."""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn


@dataclass
class Plan:
    width: int = 12
    layers: int = 2
    drop: float = 0.1
    lr: float = 4e-3
    decay: float = 0.05
    batch: int = 64
    epochs: int = 12
    patience: int = 6
    seed: int = 2


class Gated(nn.Module):
    """Half of what a linear layer gives opens or shuts the other half; a learned mix with the input itself."""

    def __init__(self, width, drop):
        super().__init__()
        self.both = nn.Linear(width, 2 * width)
        self.mix = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        value, gate = self.both(self.norm(x)).chunk(2, dim=1)
        share = torch.sigmoid(self.mix)
        return share * x + (1 - share) * self.drop(value * torch.sigmoid(gate))


class GatedNet(nn.Module):
    def __init__(self, n_in, plan):
        super().__init__()
        self.enter = nn.Linear(n_in, plan.width)
        self.body = nn.Sequential(*[Gated(plan.width, plan.drop) for _ in range(plan.layers)])
        self.norm = nn.LayerNorm(plan.width)
        self.leave = nn.Linear(plan.width, 1)

    def forward(self, x):
        return self.leave(self.norm(self.body(self.enter(x)))).squeeze(1)


def logistic_loss(score, y):
    """-log of the probability given to the truth; y is 0 or 1."""
    return F.softplus(-(2 * y - 1) * score).mean()


class BiopsyTrainer:
    def __init__(self, plan):
        self.plan = plan
        torch.manual_seed(plan.seed)
        x, y = make_classification(
            4000, n_features=16, n_informative=4, n_redundant=6, n_clusters_per_class=2, flip_y=0.0, random_state=6
        )
        x = 50 + x * (1 + torch.arange(16).numpy())
        x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=1)
        x_train, x_val, y_train, y_val = train_test_split(
            x_rest, y_rest, test_size=0.2, stratify=y_rest, random_state=1
        )
        scaler = StandardScaler().fit(x_train)
        self.train_data, self.val_data, self.test_data = (
            (torch.tensor(scaler.transform(a), dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
            for a, b in ((x_train, y_train), (x_val, y_val), (x_test, y_test))
        )
        self.net = GatedNet(x.shape[1], plan)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), plan.lr, (0.9, 0.99), weight_decay=plan.decay)

    @torch.no_grad()
    def evaluate(self, data):
        self.net.eval()
        x, y = data
        return logistic_loss(self.net(x), y).item()

    def epoch(self):
        self.net.train()
        x, y = self.train_data
        for rows in torch.randperm(len(x)).split(self.plan.batch):
            loss = logistic_loss(self.net(x[rows]), y[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def fit(self):
        best, best_weights, waited = float("inf"), None, 0
        for i in range(self.plan.epochs):
            self.epoch()
            val = self.evaluate(self.val_data)
            if i % 3 == 2:
                print(f"epoch {i + 1}: train {self.evaluate(self.train_data):.4f} val {val:.4f}")
            if val < best:
                best, best_weights, waited = val, copy.deepcopy(self.net.state_dict()), 0
            else:
                waited += 1
                if waited == self.plan.patience:
                    break
        self.net.load_state_dict(best_weights)
        print(f"test loss {self.evaluate(self.test_data):.5f}")


if __name__ == "__main__":
    BiopsyTrainer(Plan()).fit()
