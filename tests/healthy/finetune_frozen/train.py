"""Fine-tuning: a backbone that learnt the digits 0-4 is frozen and a new head learns the digits 5-9."""

import torch
from backbone import Backbone, Classifier, FrozenClassifier
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_loaders(digits):
    bunch = load_digits()
    keep = [i for i, t in enumerate(bunch.target) if t in digits]
    x = torch.tensor(bunch.images[keep] / 16.0, dtype=torch.float32).unsqueeze(1)
    y = torch.tensor(bunch.target[keep]) - min(digits)
    x_tr, x_va, y_tr, y_va = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    return (
        DataLoader(TensorDataset(x_tr, y_tr), batch_size=32, shuffle=True),
        DataLoader(TensorDataset(x_va, y_va), batch_size=128, shuffle=False),
    )


def train_one_epoch(model, loader, criterion, optimizer):
    model.train()
    total = 0.0
    for inputs, labels in loader:
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * inputs.size(0)
    return total / len(loader.dataset)


@torch.no_grad()
def validate(model, loader, criterion):
    model.eval()
    total, hits = 0.0, 0
    for inputs, labels in loader:
        inputs, labels = inputs.to(device), labels.to(device)
        outputs = model(inputs)
        total += criterion(outputs, labels).item() * inputs.size(0)
        hits += (outputs.argmax(1) == labels).sum().item()
    return total / len(loader.dataset), hits / len(loader.dataset)


def fit(name, model, loaders, optimizer, epochs):
    criterion = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        loss = train_one_epoch(model, loaders[0], criterion, optimizer)
        val_loss, acc = validate(model, loaders[1], criterion)
        print(f"{name} epoch {epoch + 1}: loss {loss:.4f} val_loss {val_loss:.4f} val_acc {acc:.3f}")


def main():
    torch.manual_seed(0)
    base = Classifier(Backbone(), n_classes=5).to(device)
    fit("pretrain", base, make_loaders(range(5)), torch.optim.Adam(base.parameters(), lr=1e-3), epochs=3)

    model = FrozenClassifier(base.backbone, n_classes=5).to(device)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=5e-3)
    fit("finetune", model, make_loaders(range(5, 10)), optimizer, epochs=12)


if __name__ == "__main__":
    main()
