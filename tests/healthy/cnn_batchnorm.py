"""A small convolutional network with batch norm, dropout and a one-cycle schedule, driven by a Trainer."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, Subset


class DigitsDataset(Dataset):
    """8x8 grey images, scaled to zero mean and unit variance."""

    def __init__(self):
        bunch = load_digits()
        images = bunch.images.astype(np.float32) / 16.0
        self.images = (images - 0.305) / 0.376
        self.labels = bunch.target

    def __len__(self):
        return len(self.images)

    def __getitem__(self, idx):
        return torch.from_numpy(self.images[idx]).unsqueeze(0), int(self.labels[idx])


def conv_bn(cin, cout):
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU(inplace=True),
    )


class ConvNet(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = conv_bn(1, 16)
        self.block1 = nn.Sequential(conv_bn(16, 16), nn.MaxPool2d(2))
        self.block2 = nn.Sequential(conv_bn(16, 32), nn.MaxPool2d(2))
        self.dropout = nn.Dropout(0.25)
        self.classifier = nn.Linear(32 * 2 * 2, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.block2(self.block1(self.stem(x)))
        return self.classifier(self.dropout(x.flatten(1)))


class Trainer:
    def __init__(self, model, train_loader, val_loader, epochs, max_lr=0.1):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self.device)
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.epochs = epochs
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=max_lr / 10, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=max_lr, epochs=epochs, steps_per_epoch=len(train_loader)
        )

    def fit(self):
        for epoch in range(self.epochs):
            train_loss = self._run_epoch()
            val_loss, val_acc = self.evaluate()
            lr = self.scheduler.get_last_lr()[0]
            print(
                f"[{epoch + 1}/{self.epochs}] loss={train_loss:.4f} val_loss={val_loss:.4f} "
                f"val_acc={val_acc:.4f} lr={lr:.5f}"
            )

    def _run_epoch(self):
        self.model.train()
        running, seen = 0.0, 0
        for images, labels in self.train_loader:
            images, labels = images.to(self.device), labels.to(self.device)
            self.optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            running += loss.item() * images.size(0)
            seen += images.size(0)
        return running / seen

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        loss, correct, n = 0.0, 0, 0
        for images, labels in self.val_loader:
            images, labels = images.to(self.device), labels.to(self.device)
            logits = self.model(images)
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            correct += (logits.argmax(1) == labels).sum().item()
            n += labels.numel()
        return loss / n, correct / n


if __name__ == "__main__":
    torch.manual_seed(42)
    dataset = DigitsDataset()
    order = np.random.default_rng(42).permutation(len(dataset))
    train_set, val_set = Subset(dataset, order[:1400]), Subset(dataset, order[1400:])
    trainer = Trainer(
        ConvNet(),
        DataLoader(train_set, batch_size=64, shuffle=True, drop_last=True),
        DataLoader(val_set, batch_size=128),
        epochs=8,
    )
    trainer.fit()
