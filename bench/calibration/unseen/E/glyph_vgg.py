"""Letters drawn in a 5x7 font, moved, dimmed and speckled, told apart by a small VGG with batch normalisation."""

import argparse

import torch
from torch import nn

FONT = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "B": "11110 10001 10001 11110 10001 10001 11110",
    "C": "01110 10001 10000 10000 10000 10001 01110",
    "D": "11110 10001 10001 10001 10001 10001 11110",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "G": "01110 10001 10000 10111 10001 10001 01110",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "K": "10001 10010 10100 11000 10100 10010 10001",
    "O": "01110 10001 10001 10001 10001 10001 01110",
}
PLAN = (12, 12, "M", 24, 24, "M", 32, "M")


def render(per_class, generator):
    """Every letter `per_class` times, letter after letter."""
    pictures, labels = [], []
    for label, rows in enumerate(FONT.values()):
        bitmap = torch.tensor([[float(c) for c in row] for row in rows.split()])
        for _ in range(per_class):
            top = int(torch.randint(2, 8, (), generator=generator))
            left = int(torch.randint(3, 9, (), generator=generator))
            ink = 0.6 + 0.4 * torch.rand((), generator=generator)
            canvas = 0.15 * torch.randn(16, 16, generator=generator)
            canvas[top : top + 7, left : left + 5] += ink * bitmap
            pictures.append(canvas)
            labels.append(label)
    return torch.stack(pictures)[:, None], torch.tensor(labels)


def vgg(plan, n_classes):
    layers, width = [], 1
    for entry in plan:
        if entry == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(width, entry, 3, padding=1, bias=False), nn.BatchNorm2d(entry), nn.ReLU(inplace=True)]
            width = entry
    layers += [nn.Flatten(), nn.Linear(width * 4, 64), nn.ReLU(), nn.Dropout(0.3)]
    layers += [nn.Linear(64, n_classes), nn.LogSoftmax(dim=1)]
    net = nn.Sequential(*layers)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return net


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.03)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=40)
    parser.add_argument("--decay", type=float, default=0.7)
    args = parser.parse_args()

    torch.manual_seed(11)
    generator = torch.Generator().manual_seed(5)
    x_train, y_train = render(180, generator)
    x_test, y_test = render(60, generator)
    mean, std = x_train.mean(), x_train.std()
    x_train, x_test = (x_train - mean) / std, (x_test - mean) / std

    net = vgg(PLAN, len(FONT))
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=args.decay)
    for epoch in range(args.epochs):
        net.train()
        total = 0.0
        order = torch.randperm(len(x_train))
        for start in range(0, len(order), args.batch_size):
            pick = order[start : start + args.batch_size]
            optimizer.zero_grad()
            loss = criterion(net(x_train[pick]), y_train[pick])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(pick)
        scheduler.step()
        net.eval()
        with torch.no_grad():
            accuracy = (net(x_test).argmax(dim=1) == y_test).float().mean().item()
        print(f"epoch {epoch + 1}: training loss {total / len(x_train):.4f}, test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
