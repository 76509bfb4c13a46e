"""How many people are on the bus? Door events go in, stop by stop; a hand-written LSTM has to keep the count."""

import math

import torch
from torch import nn

STOPS = 20
SEATS = 12.0


def journeys(count, gen):
    """Events (count, STOPS, 3): got on, got off, tickets checked. Half of the stops are passed without a halt."""
    load = torch.zeros(count)
    rows = []
    for _ in range(STOPS):
        halt = torch.rand(count, generator=gen) < 0.5
        on = torch.randint(0, 4, (count,), generator=gen) * halt
        off = torch.minimum(torch.randint(0, 4, (count,), generator=gen) * halt, load)
        load = load + on - off
        checked = torch.randint(0, 2, (count,), generator=gen)
        rows.append(torch.stack([on, off, checked], dim=1).float())
    return torch.stack(rows, dim=1) / 3, load / SEATS


class Memory(nn.Module):
    """LSTM cell; the four gates are input, forget, candidate and output."""

    def __init__(self, n_in, n_hidden, forget_bias):
        super().__init__()
        self.n_hidden = n_hidden
        self.forget_bias = forget_bias
        self.from_input = nn.Parameter(torch.randn(n_in, 4 * n_hidden) / math.sqrt(n_in))
        self.from_state = nn.Parameter(torch.randn(n_hidden, 4 * n_hidden) / math.sqrt(n_hidden))
        self.bias = nn.Parameter(torch.zeros(4 * n_hidden))

    def forward(self, x, state):
        h, c = state
        gates = x @ self.from_input + h @ self.from_state + self.bias
        i, f, g, o = gates.chunk(4, dim=1)
        c = torch.sigmoid(f + self.forget_bias) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class Counter(nn.Module):
    def __init__(self, n_hidden=24):
        super().__init__()
        self.memory = Memory(3, n_hidden, forget_bias=2.0)
        self.read = nn.Linear(n_hidden, 1)

    def forward(self, events):
        h = c = events.new_zeros(len(events), self.memory.n_hidden)
        for x in events.unbind(dim=1):
            h, c = self.memory(x, (h, c))
        return self.read(h)[:, 0]


def mse(net, events, load):
    net.eval()
    with torch.no_grad():
        return nn.functional.mse_loss(net(events), load).item() * SEATS**2


def fit(net, train, val, epochs=10, batch=64, lr=1e-2):
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    sched = torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.02, total_iters=epochs)
    events, load = train
    for e in range(epochs):
        net.train()
        seen = 0.0
        for rows in torch.randperm(len(events)).split(batch):
            err = nn.functional.mse_loss(net(events[rows]), load[rows])
            opt.zero_grad()
            err.backward()
            nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)
            opt.step()
            seen += err.item() * len(rows)
        sched.step()
        print(f"[{e:02d}] train {seen / len(events) * SEATS**2:.3f}  val {mse(net, *val):.3f}")


if __name__ == "__main__":
    torch.manual_seed(23)
    gen = torch.Generator().manual_seed(24)
    train, val, test = journeys(2400, gen), journeys(300, gen), journeys(800, gen)
    net = Counter()
    fit(net, train, val)
    print("squared error on the test journeys, in people:", round(mse(net, *test), 4))
