"""Is an egg fertile? Nine readings of a candling lamp; few eggs are barren, so they are drawn more often (sampler)."""

import copy

import torch
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler


def load():
    x, y = make_classification(
        6000, n_features=9, n_informative=6, n_redundant=0, n_clusters_per_class=2, weights=[0.9], class_sep=1.1,
        flip_y=0.0, random_state=15,
    )
    x, y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)
    x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=1)
    x_train, x_val, y_train, y_val = train_test_split(x_rest, y_rest, test_size=0.25, stratify=y_rest, random_state=2)
    mean, std = x_train.mean(0), x_train.std(0)
    return [((a - mean) / std, b) for a, b in ((x_train, y_train), (x_val, y_val), (x_test, y_test))]


class Stopper:
    """Keeps the weights of the best epoch; says when there was none better for a while."""

    def __init__(self, patience):
        self.patience, self.best, self.left, self.kept = patience, None, patience, None

    def enough(self, score, net):
        if self.best is None or score > self.best:
            self.best, self.left, self.kept = score, self.patience, copy.deepcopy(net.state_dict())
        else:
            self.left -= 1
        return self.left == 0


class Candler:
    def __init__(self, n_in, width=48):
        self.net = nn.Sequential(
            nn.Linear(n_in, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
        )
        self.loss = nn.CrossEntropyLoss()
        self.opt = torch.optim.AdamW(self.net.parameters(), lr=1e-3, weight_decay=1e-2)

    def epoch(self, loader):
        self.net.train()
        for x, y in loader:
            self.opt.zero_grad()
            self.loss(self.net(x), y).backward()
            self.opt.step()

    @torch.no_grad()
    def score(self, x, y):
        self.net.eval()
        return balanced_accuracy_score(y, self.net(x).argmax(1))

    def fit(self, train, val, epochs, patience):
        counts = torch.bincount(train[1])
        weights = (1.0 / counts)[train[1]]
        sampler = WeightedRandomSampler(weights, len(weights))
        loader = DataLoader(TensorDataset(*train), batch_size=64, sampler=sampler)
        stopper = Stopper(patience)
        for epoch in range(epochs):
            self.epoch(loader)
            score = self.score(*val)
            print(f"epoch {epoch}: validation {score:.4f}")
            if stopper.enough(score, self.net):
                break
        self.net.load_state_dict(stopper.kept)


torch.manual_seed(31)
train, val, test = load()
candler = Candler(train[0].shape[1])
candler.fit(train, val, epochs=25, patience=6)
print(f"balanced accuracy on the test eggs {candler.score(*test):.4f}")
