"""Gauges along a coast: the level in the next hour from those before. An LSTM keeps its state from window to window."""

import math

import torch
from torch import nn

torch.manual_seed(21)
GAUGES, HOURS, CUT, WINDOW = 16, 640, 480, 24


def levels():
    """In centimetres: two tides and a daily breeze at each gauge, about a mean level and a range of its own."""
    g = torch.Generator().manual_seed(4)
    t = torch.arange(HOURS, dtype=torch.float32)
    out = []
    for _ in range(GAUGES):
        a, b, c = (torch.rand(3, generator=g) * 2 * math.pi).tolist()
        wave = torch.sin(2 * math.pi * t / 12.42 + a) + 0.5 * torch.sin(2 * math.pi * t / 25.82 + b)
        wave = wave + 0.3 * torch.sin(2 * math.pi * t / 24 + c) + 0.15 * torch.randn(HOURS, generator=g)
        middle, reach = 100 + 400 * torch.rand(1, generator=g), 20 + 120 * torch.rand(1, generator=g)
        out.append(middle + reach * wave)
    return torch.stack(out)


class TideNet(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.memory = nn.LSTM(1, hidden, batch_first=True)
        self.level = nn.Linear(hidden, 1)

    def forward(self, x, state=None):
        h, state = self.memory(x.unsqueeze(-1), state)
        return self.level(h).squeeze(-1), state


def make_update(net, lr, keep=0.95):
    """RMSprop by hand: a function that takes one step down the gradients and clears them."""
    params = list(net.parameters())
    squares = [torch.ones_like(p) * 1e-4 for p in params]

    def update():
        for p, square in zip(params, squares):
            square.mul_(keep).addcmul_(p.grad, p.grad, value=1 - keep)
            p.data.addcdiv_(p.grad, square.sqrt() + 1e-6, value=-lr)
            p.grad = None

    return update


def make_epoch(net, update, series):
    """A function that goes once through the record, window after window, and returns the mean loss."""
    loss_fn = nn.MSELoss()

    def epoch():
        net.train()
        state, losses = None, []
        for start in range(0, series.shape[1] - 1, WINDOW):
            x = series[:, start : start + WINDOW][:, : series.shape[1] - 1 - start]
            y = series[:, start + 1 : start + 1 + WINDOW]
            guess, state = net(x, state)
            state = tuple(s.detach() for s in state)
            loss = loss_fn(guess, y)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            update()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    return epoch


def make_check(net, before, after):
    """The error on the later part of the record; the state is warmed up on what goes before."""

    @torch.no_grad()
    def check():
        net.eval()
        _, state = net(before)
        guess, _ = net(after[:, :-1], state)
        return (guess - after[:, 1:]).square().mean().item()

    return check


record = levels()
mean = record[:, :CUT].mean(dim=1, keepdim=True)
std = record[:, :CUT].std(dim=1, keepdim=True)
early = (record[:, :CUT] - mean) / std
late = (record[:, CUT:] - mean) / std

net = TideNet()
epoch, check = make_epoch(net, make_update(net, lr=4e-3), early), make_check(net, early, late)
for i in range(14):
    train_loss = epoch()
    if i % 2 == 1:
        print(f"pass {i + 1:2d}  train {train_loss:.4f}  later hours {check():.4f}")
print(f"mean squared error of the next hour, in squared deviations: {check():.5f}")
