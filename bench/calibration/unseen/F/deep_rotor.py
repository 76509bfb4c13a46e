"""How strongly will a rotor vibrate? A deep and narrow tanh network, plain SGD with momentum."""

import torch
import torch.nn as nn
import torch.nn.functional as F

N_HIDDEN, WIDTH = 8, 32
LR, DECAY, EPOCHS, BATCH = 0.02, 1e-5, 15, 50


def measure(n):
    """Speed, imbalance, stiffness, damping, temperature (all scaled to -1 ... 1), and the vibration that follows."""
    x = 2 * torch.rand(n, 5) - 1
    speed, imbalance, stiffness, damping, warm = x.T
    detuned = speed - 0.5 * stiffness + 0.2 * warm
    peak = (1 + 0.6 * imbalance) / (0.35 + 0.2 * damping + 2 * detuned**2)
    return x, (peak + 0.03 * torch.randn(n)).unsqueeze(1)


class Rotor(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        widths = [n_in] + [WIDTH] * N_HIDDEN
        self.hidden = nn.ModuleList([nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:])])
        self.readout = nn.Linear(WIDTH, 1)

    def start(self):
        for layer in self.hidden:
            nn.init.xavier_normal_(layer.weight, gain=1.2)
            nn.init.zeros_(layer.bias)
        return self

    def forward(self, x):
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.readout(x)


def fit_one_epoch(model, x, y, opt):
    model.train()
    for b in torch.randperm(len(x)).split(BATCH):
        opt.zero_grad()
        F.mse_loss(model(x[b]), y[b]).backward()
        opt.step()


def held_out_error(model, x, y):
    model.eval()
    with torch.no_grad():
        return F.mse_loss(model(x), y).item()


def main():
    torch.manual_seed(10)
    (x_fit, y_fit), (x_new, y_new) = measure(3000), measure(1000)
    mean, std = y_fit.mean(), y_fit.std()
    y_fit, y_new = (y_fit - mean) / std, (y_new - mean) / std
    model = Rotor(x_fit.shape[1]).start()
    opt = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=DECAY)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=EPOCHS)
    for epoch in range(1, EPOCHS + 1):
        fit_one_epoch(model, x_fit, y_fit, opt)
        sched.step()
        if epoch % 3 == 0:
            print(f"after {epoch} epochs: mean squared error {held_out_error(model, x_new, y_new):.5f}")


if __name__ == "__main__":
    main()
