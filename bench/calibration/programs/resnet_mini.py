"""A residual network in miniature, AdamW and one-cycle."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset):
    def __init__(self, images, targets):
        self.images = torch.as_tensor(images, dtype=torch.float32)[:, None]
        self.targets = torch.as_tensor(targets)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return self.images[i] / 16.0 - 0.3, self.targets[i]


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.short = nn.Identity() if cin == cout and stride == 1 else nn.Conv2d(cin, cout, 1, stride, bias=False)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.short(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, 1, 1, bias=False)
        self.layer1 = BasicBlock(8, 8)
        self.layer2 = BasicBlock(8, 16, 2)
        self.layer3 = BasicBlock(16, 32, 2)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.stem(x)))))
        return self.fc(x.mean((2, 3)))


def test(model, loader):
    model.eval()
    total, right = 0.0, 0
    with torch.no_grad():
        for x, t in loader:
            o = model(x)
            total += F.cross_entropy(o, t, reduction="sum").item()
            right += (o.argmax(1) == t).sum().item()
    return total / len(loader.dataset), right / len(loader.dataset)


def main():
    torch.manual_seed(0)
    d = load_digits()
    tr_x, te_x, tr_y, te_y = train_test_split(d.images, d.target, test_size=0.2, random_state=0)
    train_loader = DataLoader(Digits(tr_x, tr_y), batch_size=64, shuffle=True)
    test_loader = DataLoader(Digits(te_x, te_y), batch_size=180)
    model = ResNet()
    epochs = 6
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-2, total_steps=epochs * len(train_loader))
    for epoch in range(epochs):
        model.train()
        for x, t in train_loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), t)
            loss.backward()
            opt.step()
            sched.step()
        test_loss, acc = test(model, test_loader)
        print(f"epoch {epoch}: test loss {test_loss:.4f}, acc {acc:.4f}")


if __name__ == "__main__":
    main()
