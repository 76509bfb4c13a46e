"""Circle, square, triangle, cross or bar? Rendered shapes and a residual network written by hand, with a Trainer and hooks."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

SIZE = 16
NAMES = ("circle", "square", "triangle", "cross", "bar")


def render(kind, rng):
    angle = rng.uniform(0, 2 * np.pi)
    cy, cx = rng.uniform(6, SIZE - 6, 2)
    r = rng.uniform(3.2, 5.0)
    yy, xx = np.mgrid[:SIZE, :SIZE].astype(float)
    u = (np.cos(angle) * (xx - cx) + np.sin(angle) * (yy - cy)) / r
    v = (-np.sin(angle) * (xx - cx) + np.cos(angle) * (yy - cy)) / r
    if kind == "circle":
        inside = u**2 + v**2 < 0.8
    elif kind == "square":
        inside = (abs(u) < 0.8) & (abs(v) < 0.8)
    elif kind == "triangle":
        inside = (v > -0.6) & (v < 1.1 - 1.9 * abs(u))
    elif kind == "cross":
        inside = ((abs(u) < 0.28) & (abs(v) < 1)) | ((abs(v) < 0.28) & (abs(u) < 1))
    else:
        inside = (abs(u) < 0.32) & (abs(v) < 1)
    picture = rng.uniform(0.0, 0.3) + rng.uniform(0.5, 0.8) * inside + rng.normal(0, 0.1, inside.shape)
    return picture.astype(np.float32)


class Shapes(Dataset):
    """So many of each name, one name after the other."""

    def __init__(self, n_each, seed):
        rng = np.random.default_rng(seed)
        self.labels = torch.arange(len(NAMES)).repeat_interleave(n_each)
        self.pictures = torch.from_numpy(np.stack([render(NAMES[k], rng) for k in self.labels.tolist()]))[:, None]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return (self.pictures[index] - 0.3) / 0.3, self.labels[index]


class Block(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, kernel_size=3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(c_out)
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, kernel_size=1, stride=stride)

    def forward(self, x):
        h = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(h)) + self.skip(x))


class ResNet(nn.Module):
    def __init__(self, n_classes, width=8):
        super().__init__()
        self.stem = nn.Conv2d(1, width, kernel_size=3, padding=1)
        self.blocks = nn.Sequential(Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 3 * width, 2))
        self.drop = nn.Dropout(0.05)
        self.fc = nn.Linear(3 * width, n_classes)

    def forward(self, x):
        h = self.blocks(torch.relu(self.stem(x)))
        return self.fc(self.drop(h.mean(dim=(2, 3))))


class Hook:
    """Does nothing; the others override what they need."""

    def on_batch_end(self, trainer):
        pass

    def on_epoch_end(self, trainer):
        pass


class DecayRate(Hook):
    def __init__(self, optimizer, factor):
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, factor)

    def on_epoch_end(self, trainer):
        self.schedule.step()


class Report(Hook):
    def __init__(self, val_set):
        self.loader = DataLoader(val_set, batch_size=100)
        self.losses = []

    def on_batch_end(self, trainer):
        self.losses.append(trainer.loss)

    def on_epoch_end(self, trainer):
        loss = sum(self.losses) / len(self.losses)
        print(f"epoch {trainer.epoch}: train loss {loss:.4f} validation accuracy {trainer.score(self.loader):.4f}")
        self.losses.clear()


class Trainer:
    def __init__(self, model, optimizer, hooks):
        self.model, self.optimizer, self.hooks = model, optimizer, hooks
        self.loss_fn = nn.CrossEntropyLoss()
        self.loss = 0.0
        self.epoch = 0

    def call(self, name):
        for hook in self.hooks:
            getattr(hook, name)(self)

    def fit(self, loader, epochs):
        self.model.train()
        for self.epoch in range(1, epochs + 1):
            for pictures, labels in loader:
                loss = self.loss_fn(self.model(pictures), labels)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.loss = loss.item()
                self.call("on_batch_end")
            self.call("on_epoch_end")

    def score(self, loader):
        self.model.eval()
        hits = total = 0
        with torch.no_grad():
            for pictures, labels in loader:
                hits += (self.model(pictures).argmax(dim=1) == labels).sum().item()
                total += len(labels)
        self.model.train()
        return hits / total


def main():
    torch.manual_seed(20)
    train_set, val_set = Shapes(450, seed=1), Shapes(100, seed=2)
    batches = BatchSampler(RandomSampler(train_set), batch_size=32, drop_last=False)
    train_loader = DataLoader(train_set, batch_sampler=batches)
    model = ResNet(len(NAMES))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-3)
    trainer = Trainer(model, optimizer, [DecayRate(optimizer, 0.65), Report(val_set)])
    trainer.fit(train_loader, epochs=8)


if __name__ == "__main__":
    main()
