"""One long noisy signal, read in stretches by an LSTM that carries its state over; it foretells the next value."""

import torch
import torch.nn as nn
import torch.optim as optim

torch.manual_seed(0)
STREAMS, STRETCH, TOTAL = 16, 20, 1000


def make_streams():
    t = torch.arange(TOTAL + 1) * 0.15
    phase = 6.28 * torch.rand(STREAMS, 1)
    clean = torch.sin(t + phase) * (1 + 0.5 * torch.sin(0.23 * t + phase))
    return (clean + 0.05 * torch.randn(STREAMS, TOTAL + 1)).unsqueeze(-1)


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.rnn = nn.LSTM(1, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x, state=None):
        out, state = self.rnn(x, state)
        return self.fc(out), state


def detach(state):
    return tuple(s.detach() for s in state)


train_data, val_data = make_streams(), make_streams()
net = Forecaster()
criterion = nn.MSELoss()
optimizer = optim.Adam(net.parameters(), lr=5e-3)

for epoch in range(5):
    state = None
    for start in range(0, TOTAL, STRETCH):
        x = train_data[:, start : start + STRETCH]
        y = train_data[:, start + 1 : start + STRETCH + 1]
        optimizer.zero_grad()
        out, state = net(x, state)
        loss = criterion(out, y)
        loss.backward()
        optimizer.step()
        state = detach(state)
    with torch.no_grad():
        out, _ = net(val_data[:, :-1])
        val = criterion(out, val_data[:, 1:]).item()
    print(f"epoch {epoch}: loss {loss.item():.4f} val {val:.4f}")
