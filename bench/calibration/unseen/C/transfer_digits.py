"""Features learned on the digits 0 to 5, frozen, and a new head that learns 6 to 9 from sixty pictures."""

import io

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


def make_backbone():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    )


class Classifier(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.backbone = make_backbone()
        self.head = nn.Linear(32, n_classes)

    def forward(self, x):
        return self.head(self.backbone(x))


def preprocess(images):
    return (torch.as_tensor(images, dtype=torch.float32).unsqueeze(1) - 4.9) / 6.0


def batches(x, y, size):
    for idx in torch.randperm(len(x)).split(size):
        yield x[idx], y[idx]


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()


def pretrain(x, y):
    net = Classifier(6)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(10):
        net.train()
        for xb, yb in batches(x, y, 64):
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()
        print(f"pretraining {epoch}: accuracy on its own digits {accuracy(net, x, y):.4f}")
    file = io.BytesIO()
    torch.save(net.backbone.state_dict(), file)
    file.seek(0)
    return file


def finetune(checkpoint, x, y, x_val, y_val):
    net = Classifier(4)
    net.backbone.load_state_dict(torch.load(checkpoint))
    net.backbone.requires_grad_(False)
    trainable = [p for p in net.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(trainable, lr=1e-2, weight_decay=1e-2)
    for epoch in range(60):
        net.train()
        for xb, yb in batches(x, y, 20):
            loss = F.cross_entropy(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 6 == 5:
            print(f"head {epoch}: loss {loss.item():.4f} accuracy {accuracy(net, x_val, y_val):.4f}")
    return net


def main():
    torch.manual_seed(2)
    digits = load_digits()
    images, labels = preprocess(digits.images), torch.as_tensor(digits.target)
    old = labels < 6
    checkpoint = pretrain(images[old], labels[old])

    new_images, new_labels = images[~old], labels[~old] - 6
    order = torch.randperm(len(new_labels))
    few, rest = order[:60], order[60:]
    x, y = new_images[few], new_labels[few]
    x_val, y_val = new_images[rest], new_labels[rest]
    net = finetune(checkpoint, x, y, x_val, y_val)
    print(f"held-out accuracy {accuracy(net, x_val, y_val):.4f}")


if __name__ == "__main__":
    main()
