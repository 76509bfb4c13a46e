# How full is the cistern?  Rain falls in, water is drawn and some leaks away; only rain and tap are seen, second by
# second. An LSTM follows each house through its whole day, in windows of 20, and keeps its state from one to the next.
import torch
from torch import nn, optim

HOUSES, SECONDS, WINDOW, DAYS = 32, 400, 20, 12
torch.manual_seed(29)


def days(houses):
    """Rain and tap [house, second, 2] and the level of the water [house, second]."""
    rain = (torch.rand(houses, SECONDS) < 0.08).float() * (0.5 + torch.rand(houses, SECONDS))
    tap = (torch.rand(houses, SECONDS) < 0.10).float()
    level = torch.empty(houses, SECONDS)
    now = torch.zeros(houses)
    for s in range(SECONDS):
        now = (0.975 * now + rain[:, s] - 0.5 * tap[:, s]).clamp(0, 4)
        level[:, s] = now
    return torch.stack([rain, tap], dim=-1), level + 0.05 * torch.randn(houses, SECONDS)


class Gauge(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.rnn = nn.LSTM(2, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, seen, state=None):
        h, state = self.rnn(seen, state)
        return self.out(h).squeeze(-1), state


def windows(seen, level):
    for start in range(0, SECONDS, WINDOW):
        yield seen[:, start : start + WINDOW], level[:, start : start + WINDOW]


seen, level = days(HOUSES)
val_seen, val_level = days(HOUSES)

net = Gauge()
opt = optim.Adam(net.parameters(), lr=1e-2)
sched = optim.lr_scheduler.CosineAnnealingLR(opt, T_max=DAYS * (SECONDS // WINDOW))
crit = nn.MSELoss()


@torch.no_grad()
def validate():
    net.eval()
    state, losses = None, []
    for x, y in windows(val_seen, val_level):
        guess, state = net(x, state)
        losses.append(crit(guess, y).item())
    return sum(losses) / len(losses)


for day in range(DAYS):
    net.train()
    state, losses = None, []
    for x, y in windows(seen, level):
        opt.zero_grad()
        guess, state = net(x, state)
        loss = crit(guess, y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        sched.step()
        state = tuple(part.detach() for part in state)
        losses.append(loss.item())
    print(f"day {day}: training {sum(losses) / len(losses):.4f}, validation {validate():.4f}")
print(f"validation loss {validate():.4f}")
