"""Train one small model of the kind named on the command line, and print a digest of everything training leaves."""

import hashlib
import random
import sys

import numpy
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset


def mlp():
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(48, 10))


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.drop = nn.Dropout2d(0.1)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        x = x.view(-1, 1, 8, 8)
        x = self.drop(torch.relu_(self.bn1(self.conv1(x))))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 24, batch_first=True)
        self.fc = nn.Linear(24, 10)

    def forward(self, x):
        return self.fc(self.lstm(x.view(-1, 8, 8))[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 16)
        self.blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True), 2)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(torch.tanh(self.blocks(self.inner(x.view(-1, 8, 8))).mean(1)))


class Checkpointed(Cnn):
    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x.view(-1, 1, 8, 8))))
        x = checkpoint(lambda t: torch.relu(self.bn2(self.conv2(self.drop(t)))), x, use_reentrant=False)
        return self.fc(torch.max_pool2d(x, x.shape[-1]).flatten(1))  # the ReLU in there can be followed from here


KINDS = {
    "mlp": mlp,
    "cnn": Cnn,
    "lstm": Recurrent,
    "transformer": Attentive,
    "checkpoint": Checkpointed,
    "amp": Cnn,
    "compile": mlp,
    "workers": Cnn,
}


def digest(*things):
    total = hashlib.sha256()

    def eat(thing):
        if isinstance(thing, torch.Tensor):
            total.update(thing.detach().contiguous().view(torch.uint8).numpy().tobytes() if thing.dim() else b"")
            total.update(repr(thing.tolist()).encode() if not thing.dim() else b"")
        elif isinstance(thing, dict):
            for key in thing:
                total.update(repr(key).encode())
                eat(thing[key])
        elif isinstance(thing, (list, tuple)):
            for part in thing:
                eat(part)
        else:
            total.update(repr(thing).encode())

    eat(things)
    return total.hexdigest()


def main(kind):
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)
    x, y = torch.randn(640, 64), torch.randint(0, 10, (640,))
    model = KINDS[kind]()
    called = torch.compile(model, backend="aot_eager") if kind == "compile" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    workers = 2 if kind == "workers" else 0
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True, num_workers=workers)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    losses = []
    for _ in range(2):
        model.train()
        for bx, by in loader:
            bx = bx + 0.01 * torch.randn_like(bx) * random.random()
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == "amp"):
                loss = criterion(called(bx), by)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            losses.append(criterion(called(x), y).item())
    left = (model.state_dict(), optimizer.state_dict(), scheduler.state_dict(), losses)
    print(kind, digest(left), digest(torch.get_rng_state(), random.getstate(), numpy.random.get_state()))


if __name__ == "__main__":
    main(sys.argv[1])
