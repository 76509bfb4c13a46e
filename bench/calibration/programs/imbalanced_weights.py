"""One positive in twelve: weighted cross entropy and balanced accuracy."""

import torch
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(0)
X, y = make_classification(
    n_samples=2400, n_features=20, n_informative=8, weights=[0.92], class_sep=1.2, flip_y=0.01, random_state=4
)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, test_size=0.3, random_state=4)
mu, sigma = X_train.mean(0), X_train.std(0)
X_train = torch.tensor((X_train - mu) / sigma).float()
X_test = torch.tensor((X_test - mu) / sigma).float()
y_train = torch.tensor(y_train)

counts = torch.bincount(y_train).float()
weights = counts.sum() / (2 * counts)
model = nn.Sequential(
    nn.Linear(20, 40),
    nn.ReLU(),
    nn.Linear(40, 40),
    nn.ReLU(),
    nn.Linear(40, 2),
)
criterion = nn.CrossEntropyLoss(weight=weights)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for epoch in range(12):
    model.train()
    permutation = torch.randperm(len(X_train))
    epoch_loss = 0.0
    for start in range(0, len(X_train), 32):
        batch = permutation[start : start + 32]
        optimizer.zero_grad()
        loss = criterion(model(X_train[batch]), y_train[batch])
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * len(batch)
    model.eval()
    with torch.no_grad():
        predictions = model(X_test).argmax(dim=1).numpy()
    score = balanced_accuracy_score(y_test, predictions)
    print(f"epoch {epoch}: loss {epoch_loss / len(X_train):.4f}, balanced accuracy {score:.4f}")
