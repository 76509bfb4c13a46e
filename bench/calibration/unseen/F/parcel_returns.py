"""Will a parcel come back? One in ten does: a balanced sampler, and early stopping on a validation set of its own."""

import copy

import numpy as np
import torch
import torch.nn as nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler


def draw_parcels(n, rng):
    """Price in cents, weight in grams, days under way, age of the customer, orders so far, share of them sent back."""
    price = rng.lognormal(8.3, 0.6, n)
    grams = rng.gamma(3.0, 700.0, n)
    days = rng.poisson(3.0, n) + 1
    age = rng.uniform(18, 80, n)
    orders = rng.poisson(14, n)
    habit = rng.beta(1.5, 6.0, n)
    score = 1.1 * np.log(price / 4000) + 8.0 * (habit - 0.2) + 0.5 * (days - 4) - 0.02 * np.abs(age - 45)
    score += np.where(grams > 2500, 1.2, -0.3) * np.log(price / 4000)
    returned = (3.0 * (score - 2.3) + rng.logistic(0, 1, n)) > 0
    return np.stack([price, grams, days, age, orders, habit], axis=1), returned.astype(np.int64)


class EarlyStopper:
    """Keeps the best weights; says when nothing has become better for `patience` epochs."""

    def __init__(self, patience, mode):
        assert mode in ("min", "max")
        self.patience, self.mode = patience, mode
        self.best, self.weights, self.bad_epochs = None, None, 0

    def should_stop(self, value, model):
        better = self.best is None or (value < self.best if self.mode == "min" else value > self.best)
        if better:
            self.best, self.weights, self.bad_epochs = value, copy.deepcopy(model.state_dict()), 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


def as_tensors(x, y):
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))


def balanced_loader(data, batch_size):
    labels = data.tensors[1]
    share = torch.bincount(labels) / len(labels)
    sampler = WeightedRandomSampler([1 / share[label] for label in labels], num_samples=len(labels))
    return DataLoader(data, batch_size=batch_size, sampler=sampler)


def build_net(n_features):
    return nn.Sequential(
        nn.Linear(n_features, 48),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(48, 24),
        nn.ReLU(),
        nn.Linear(24, 1),
    )


def train_one_epoch(net, loader, loss_fn, optimizer):
    net.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(net(x).squeeze(1), y.float())
        loss.backward()
        optimizer.step()


@torch.no_grad()
def evaluate(net, data, loss_fn):
    """Both classes weigh the same, in the loss and in the accuracy, however few are returned."""
    net.eval()
    x, y = data.tensors
    logits = net(x).squeeze(1)
    losses = [loss_fn(logits[y == c], y[y == c].float()).item() for c in (0, 1)]
    probability = torch.sigmoid(logits)
    hits = [((probability[y == c] > 0.5).long() == c).float().mean().item() for c in (0, 1)]
    return sum(losses) / 2, sum(hits) / 2


def main():
    torch.manual_seed(4)
    x, y = draw_parcels(9000, np.random.default_rng(40))
    x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=2500, stratify=y, random_state=1)
    x_train, x_val, y_train, y_val = train_test_split(x_rest, y_rest, test_size=1500, stratify=y_rest, random_state=2)
    scaler = StandardScaler().fit(x_train)
    train = as_tensors(scaler.transform(x_train), y_train)
    val = as_tensors(scaler.transform(x_val), y_val)
    test = as_tensors(scaler.transform(x_test), y_test)

    net = build_net(x.shape[1])
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    stopper = EarlyStopper(patience=6, mode="min")
    loader = balanced_loader(train, batch_size=100)
    for epoch in range(1, 31):
        train_one_epoch(net, loader, loss_fn, optimizer)
        val_loss, val_acc = evaluate(net, val, loss_fn)
        if epoch % 3 == 0:
            print(f"epoch {epoch}: validation loss {val_loss:.4f}, balanced accuracy {val_acc:.4f}")
        if stopper.should_stop(val_loss, net):
            break
    net.load_state_dict(stopper.weights)
    print(f"balanced accuracy on the test parcels: {evaluate(net, test, loss_fn)[1]:.4f}")


if __name__ == "__main__":
    main()
