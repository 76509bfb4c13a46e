"""Digits in a plane of eight dimensions where like lies by like: the triplet loss, judged by nearest neighbours."""

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch.utils.data import DataLoader, Dataset


class Triplets(Dataset):
    """An anchor, another picture of the same digit, and one of a different digit."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels
        self.where = [torch.nonzero(labels == c).flatten() for c in range(10)]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        own = int(self.labels[index])
        other = (own + int(torch.randint(1, 10, (1,)))) % 10
        same = self.where[own][torch.randint(len(self.where[own]), (1,))]
        different = self.where[other][torch.randint(len(self.where[other]), (1,))]
        return self.images[index], self.images[same].squeeze(0), self.images[different].squeeze(0)


class Embedder(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 96),
            nn.ReLU(),
            nn.Linear(96, 48),
            nn.ReLU(),
            nn.Linear(48, dim),
        )

    def forward(self, x):
        return nn.functional.normalize(self.layers(x), dim=1)


def neighbour_accuracy(model, train, val):
    model.eval()
    with torch.no_grad():
        seen, new = model(train[0]).numpy(), model(val[0]).numpy()
    model.train()
    return KNeighborsClassifier(5).fit(seen, train[1].numpy()).score(new, val[1].numpy())


def main():
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16 - 0.3
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels))
    train = images[order[:1300]], labels[order[:1300]]
    val = images[order[1300:]], labels[order[1300:]]
    model = Embedder()
    loader = DataLoader(Triplets(*train), batch_size=50, shuffle=True)
    criterion = nn.TripletMarginLoss(margin=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(6):
        for anchor, positive, negative in loader:
            optimizer.zero_grad()
            loss = criterion(model(anchor), model(positive), model(negative))
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}, neighbours {neighbour_accuracy(model, train, val):.4f}")


if __name__ == "__main__":
    main()
