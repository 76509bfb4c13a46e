"""Which of four circles does a member belong to? Graph attention by hand on a random network, half of it labelled."""

from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import balanced_accuracy_score
from torch import nn

SIZES = (120, 90, 60, 40)
hp = SimpleNamespace(hidden=8, heads=4, dropout=0.3, lr=0.005, weight_decay=3e-3, epochs=150, seed=5)


def make_network(rng):
    circle = np.repeat(np.arange(4), SIZES)
    rng.shuffle(circle)
    same = circle[:, None] == circle[None, :]
    tie = np.triu(rng.random(same.shape) < np.where(same, 0.16, 0.015), 1)
    adjacency = tie | tie.T | np.eye(len(circle), dtype=bool)
    centres = rng.normal(size=(4, 10))
    features = 0.8 * centres[circle] + rng.normal(size=(len(circle), 10))
    return torch.tensor(features).float(), torch.tensor(adjacency), torch.tensor(circle)


class GraphAttention(nn.Module):
    def __init__(self, n_in, n_out, heads, dropout):
        super().__init__()
        self.dropout = dropout
        self.project = nn.Linear(n_in, heads * n_out, bias=False)
        self.source = nn.Parameter(0.3 * torch.randn(heads, n_out))
        self.sink = nn.Parameter(0.3 * torch.randn(heads, n_out))
        self.shape = (heads, n_out)

    def forward(self, x, adjacency):
        h = self.project(x).view(len(x), *self.shape)
        from_node = (h * self.source).sum(-1)
        to_node = (h * self.sink).sum(-1)
        e = F.leaky_relu(to_node[:, None] + from_node[None, :], 0.2)
        e = e.masked_fill(~adjacency[..., None], -1e9)
        alpha = F.dropout(torch.softmax(e, dim=1), self.dropout, training=self.training)
        return torch.einsum("ijh,jho->iho", alpha, h)


class GAT(nn.Module):
    def __init__(self, n_in, n_classes):
        super().__init__()
        self.first = GraphAttention(n_in, hp.hidden, hp.heads, hp.dropout)
        self.second = GraphAttention(hp.hidden * hp.heads, n_classes, 1, hp.dropout)

    def forward(self, x, adjacency):
        x = F.elu(self.first(x, adjacency).flatten(1))
        x = F.dropout(x, hp.dropout, self.training)
        x = self.second(x, adjacency).mean(dim=1)
        return F.log_softmax(x, dim=1)


def split(n, rng):
    order = torch.from_numpy(rng.permutation(n))
    return order[: n // 2], order[n // 2 :]


rng = np.random.default_rng(hp.seed)
torch.manual_seed(hp.seed)
features, adjacency, circle = make_network(rng)
known, hidden = split(len(circle), rng)
counts = torch.bincount(circle[known], minlength=4).float()
class_weight = counts.sum() / (len(counts) * counts)

net = GAT(features.shape[1], len(SIZES))
optimiser = torch.optim.Adam(net.parameters(), lr=hp.lr, weight_decay=hp.weight_decay)
for epoch in range(1, hp.epochs + 1):
    net.train()
    optimiser.zero_grad()
    out = net(features, adjacency)
    loss = F.nll_loss(out[known], circle[known], weight=class_weight)
    loss.backward()
    optimiser.step()
    if epoch % 30 == 0:
        net.eval()
        with torch.no_grad():
            guess = net(features, adjacency).argmax(dim=1)
        fit = balanced_accuracy_score(circle[known], guess[known])
        test = balanced_accuracy_score(circle[hidden], guess[hidden])
        print(f"{epoch:4d}  loss {loss.item():.4f}  balanced accuracy: labelled {fit:.3f}, held out {test:.3f}")
