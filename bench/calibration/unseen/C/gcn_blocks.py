"""A graph convolution, by hand, that tells to which of three uneven groups each node of a random network belongs."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SIZES = (260, 110, 50)


def make_graph(seed=5):
    """A stochastic block model; of each node ten noisy measurements, every one in a unit of its own."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(3), SIZES)
    rng.shuffle(group)
    chance = np.where(group[:, None] == group[None, :], 0.05, 0.008)
    upper = np.triu(rng.random(chance.shape) < chance, 1)
    adjacency = (upper | upper.T).astype(np.float32)
    centres = rng.normal(0, 0.55, (3, 10))
    measured = centres[group] + rng.normal(0, 1, (len(group), 10))
    units = np.array([900.0, 0.02, 1.0, 35.0, 0.4, 2500.0, 6.0, 0.1, 140.0, 1.0])
    measured = measured * units + 3 * units
    return torch.from_numpy(adjacency), torch.from_numpy(measured).float(), torch.from_numpy(group)


def normalised(adjacency):
    with_self = adjacency + torch.eye(len(adjacency))
    scale = with_self.sum(1).rsqrt()
    return scale[:, None] * with_self * scale[None, :]


class GCN(nn.Module):
    def __init__(self, n_in, n_hidden, n_out, dropout=0.3):
        super().__init__()
        self.w1 = nn.Linear(n_in, n_hidden)
        self.w2 = nn.Linear(n_hidden, n_out)
        self.dropout = dropout

    def forward(self, a_hat, x):
        x = F.relu(a_hat @ self.w1(x))
        x = F.dropout(x, self.dropout, self.training)
        return a_hat @ self.w2(x)


def balanced_accuracy(logits, y):
    guess = logits.argmax(1)
    return torch.stack([(guess[y == c] == c).float().mean() for c in range(3)]).mean().item()


def main():
    torch.manual_seed(5)
    adjacency, x, y = make_graph()
    order = torch.randperm(len(y))
    train, val, test = order[:130], order[130:210], order[210:]
    x = (x - x[train].mean(0)) / x[train].std(0)
    a_hat = normalised(adjacency)

    counts = torch.bincount(y[train], minlength=3).float()
    weight = counts.sum() / (3 * counts)
    model = GCN(x.shape[1], 32, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=5e-4)
    best_loss, best_state, waited, patience = float("inf"), None, 0, 40
    for epoch in range(400):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(a_hat, x)[train], y[train], weight=weight)
        loss.backward()
        optimizer.step()

        model.eval()
        with torch.no_grad():
            val_loss = F.cross_entropy(model(a_hat, x)[val], y[val], weight=weight).item()
        if epoch % 20 == 0:
            print(f"epoch {epoch} train {loss.item():.4f} val {val_loss:.4f}")
        if val_loss < best_loss:
            best_loss, best_state, waited = val_loss, copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
            if waited >= patience:
                break

    model.load_state_dict(best_state)
    model.eval()
    with torch.no_grad():
        logits = model(a_hat, x)
    print(f"stopped after {epoch + 1} epochs; balanced accuracy on test nodes {balanced_accuracy(logits[test], y[test]):.4f}")


if __name__ == "__main__":
    main()
