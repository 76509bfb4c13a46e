"""A convolutional network on 8x8 digits, with a small Trainer."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class ConvNet(nn.Module):
    def __init__(self, n_classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout2d(0.1),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(24 * 4 * 4, 48),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(48, n_classes),
        )

    def forward(self, x):
        return self.classifier(self.features(x))


class Trainer:
    def __init__(self, model, train_set, val_set, lr=1e-3, batch_size=64):
        self.model = model
        self.train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
        self.val_loader = DataLoader(val_set, batch_size=100)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)
        self.loss = nn.CrossEntropyLoss()

    def train_step(self, x, y):
        self.optimizer.zero_grad()
        logits = self.model(x)
        loss = self.loss(logits, y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def validate(self):
        self.model.eval()
        loss, correct = 0.0, 0
        with torch.no_grad():
            for x, y in self.val_loader:
                logits = self.model(x)
                loss += self.loss(logits, y).item() * len(y)
                correct += (logits.argmax(-1) == y).sum().item()
        self.model.train()
        n = len(self.val_loader.dataset)
        return loss / n, correct / n

    def fit(self, epochs):
        self.model.train()
        for epoch in range(epochs):
            losses = [self.train_step(x, y) for x, y in self.train_loader]
            val_loss, val_acc = self.validate()
            print(f"[{epoch + 1}] train {sum(losses) / len(losses):.4f} val {val_loss:.4f} acc {val_acc:.4f}")


def main():
    torch.manual_seed(3)
    digits = load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) * (255 / 16)
    pixels = pixels / 255
    dataset = TensorDataset(pixels, torch.tensor(digits.target))
    train_set, val_set = random_split(dataset, [1400, len(dataset) - 1400])
    trainer = Trainer(ConvNet(), train_set, val_set)
    trainer.fit(epochs=9)


if __name__ == "__main__":
    main()
