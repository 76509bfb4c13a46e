"""In which regime is the machine now? A recurrent filter reads one long record in windows and carries its state over them."""

import torch
from torch import nn

torch.manual_seed(9)

STREAMS, TOTAL, WINDOW = 24, 400, 25
STAY = torch.tensor([0.98, 0.92, 0.85])  # idling lasts long, faults do not


def record(n, total):
    """Three readings and the regime (0 idling, 1 work, 2 fault) at each time; a regime is told by how the readings go together."""
    regime = torch.zeros(n, total, dtype=torch.long)
    for t in range(1, total):
        before = regime[:, t - 1]
        leave = torch.rand(n) > STAY[before]
        other = torch.where(before == 0, torch.ones(n, dtype=torch.long), torch.where(torch.rand(n) < 0.65, 0, 3 - before))
        regime[:, t] = torch.where(leave, other, before)
    noise = torch.randn(n, total, 3)
    common = torch.randn(n, total)
    load = torch.tensor([-0.7, 0.7, 0.5])[regime]
    twist = torch.tensor([1.0, 1.0, -1.0])[regime]
    readings = torch.stack([load + noise[..., 0], common + 0.6 * noise[..., 1], twist * common + 0.6 * noise[..., 2]], dim=2)
    return readings, regime


class Filter(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lift = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.rnn = nn.GRU(hidden, hidden, batch_first=True)
        self.decode = nn.Linear(hidden, 3)
        self.log_probability = nn.LogSoftmax(dim=-1)

    def forward(self, readings, hidden=None):
        out, hidden = self.rnn(self.lift(readings), hidden)
        return self.log_probability(self.decode(out)), hidden


def balanced_accuracy(model, readings, regime):
    with torch.no_grad():
        guess = model(readings)[0].argmax(-1)
    return sum((guess[regime == k] == k).float().mean().item() for k in range(3)) / 3


readings, regime = record(STREAMS, TOTAL)
val_readings, val_regime = record(STREAMS, TOTAL)
mean, std = readings.mean((0, 1)), readings.std((0, 1))
readings, val_readings = (readings - mean) / std, (val_readings - mean) / std

counts = regime.flatten().bincount(minlength=3).float()
criterion = nn.NLLLoss(weight=counts.sum() / (3 * counts))
model = Filter()
lr = 0.5

for epoch in range(10):
    hidden, total = None, 0.0
    for start in range(0, TOTAL, WINDOW):
        x, y = readings[:, start : start + WINDOW], regime[:, start : start + WINDOW]
        if hidden is not None:
            hidden = hidden.detach()
        model.zero_grad()
        log_p, hidden = model(x, hidden)
        loss = criterion(log_p.flatten(0, 1), y.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-lr)
        total += loss.item()
    lr *= 0.9
    print(f"epoch {epoch:2d} loss {total / (TOTAL // WINDOW):.4f} balanced accuracy {balanced_accuracy(model, val_readings, val_regime):.4f}")
