# Foretells the inflow of a dam.  Rivers with storms and slow snow melt, each one long record that is read in
# stretches; an LSTM hands its memory from one stretch to the next.
import torch
from torch import nn

torch.manual_seed(21)
RIVERS, HOURS, STRETCH, SPLIT = 24, 2400, 40, 16


def make_rivers(n, hours):
    """Rain comes in bursts; half of it runs off at once, half is stored and comes out much later."""
    burst = (torch.rand(n, hours) < 0.04).float() * torch.empty(n, hours).exponential_(1.0)
    fast, slow, flow = torch.zeros(n), torch.zeros(n), torch.zeros(n, hours)
    for t in range(hours):
        fast = 0.80 * fast + 0.5 * burst[:, t]
        slow = 0.97 * slow + 0.5 * burst[:, t]
        flow[:, t] = fast + 0.3 * slow
    return burst, flow + 0.02 * torch.randn(n, hours)


class Relay(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden, batch_first=True)
        self.read = nn.Linear(hidden, 1)

    def forward(self, x, memory=None):
        out, memory = self.lstm(x, memory)
        return self.read(out).squeeze(-1), memory


def let_go(memory):
    return tuple(m.detach() for m in memory)


rain, flow = make_rivers(RIVERS, HOURS)
rain = rain.log1p()
r_mean, r_std = rain[:SPLIT].mean(), rain[:SPLIT].std()
f_mean, f_std = flow[:SPLIT].mean(), flow[:SPLIT].std()
rain, flow = (rain - r_mean) / r_std, (flow - f_mean) / f_std
inputs = torch.stack([rain[:, :-1], flow[:, :-1]], dim=-1)   # what is known at t
wanted = flow[:, 1:]                                         # the flow at t + 1

net = Relay()
criterion = nn.MSELoss()
opt = torch.optim.Adam(net.parameters(), lr=4e-3)


def held_out():
    net.eval()
    with torch.no_grad():
        guess, _ = net(inputs[SPLIT:])
        return nn.functional.mse_loss(guess, wanted[SPLIT:]).item()


for sweep in range(1, 9):
    net.train()
    memory, losses = None, []
    for start in range(0, HOURS - 1, STRETCH):
        guess, memory = net(inputs[:SPLIT, start : start + STRETCH], memory)
        memory = let_go(memory)
        loss = criterion(guess, wanted[:SPLIT, start : start + STRETCH])
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        losses.append(loss.item())
    print(f"sweep {sweep}  training {sum(losses) / len(losses):.4f}  held out {held_out():.4f}")
print("held-out squared error", round(held_out(), 5))
