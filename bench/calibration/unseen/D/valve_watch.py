"""An autoencoder that has heard only healthy valves; what it cannot rebuild is an anomaly."""

import copy
import math
import types

import torch
import torch.nn as nn

args = types.SimpleNamespace(points=48, widths=[48, 40, 32, 24, 3, 24, 32, 40, 48], lr=3e-3, batch=32, max_epochs=16, patience=4, sparsity=1e-4, dtype=torch.float32)


def listen(n, healthy, generator):
    """A tone and its overtone. In a healthy valve the overtone keeps step with the tone; in a worn one it does not."""
    uniform = lambda low, high: low + (high - low) * torch.rand(n, 1, generator=generator)
    t = torch.linspace(0, 2 * math.pi, args.points)
    phase = uniform(0, 2 * math.pi)
    slip = torch.zeros(n, 1) if healthy else uniform(0.6, 2 * math.pi - 0.6)
    tone = uniform(0.7, 1.3) * torch.sin(2 * t + phase)
    overtone = uniform(0.5, 0.9) * torch.sin(4 * t + 2 * phase + slip)
    return (tone + overtone + 0.15 * torch.randn(n, args.points, generator=generator)).to(args.dtype)


class Autoencoder(nn.Module):
    def __init__(self, widths):
        super().__init__()
        middle = len(widths) // 2
        self.encoder = self.stack(widths[: middle + 1])
        self.decoder = self.stack(widths[middle:])

    @staticmethod
    def stack(widths):
        layers = []
        for n_in, n_out in zip(widths, widths[1:]):
            linear = nn.Linear(n_in, n_out)
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.Tanh()]
        return nn.Sequential(*layers[:-1])

    def forward(self, x):
        code = self.encoder(x)
        return self.decoder(code), code


def squared_errors(net, x):
    net.eval()
    with torch.no_grad():
        rebuilt, _ = net(x)
    return ((rebuilt - x) ** 2).float().mean(1)


def fit(net, train, val):
    optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
    best, best_weights, bad_epochs = math.inf, copy.deepcopy(net.state_dict()), 0
    for epoch in range(args.max_epochs):
        net.train()
        for rows in torch.randperm(len(train)).split(args.batch):
            x = train[rows]
            rebuilt, code = net(x)
            loss = nn.functional.mse_loss(rebuilt, x) + args.sparsity * code.abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        val_error = squared_errors(net, val).mean().item()
        print(f"epoch {epoch} train {loss.item():.4f} val {val_error:.4f}")
        if val_error < best:
            best, bad_epochs = val_error, 0
            best_weights = copy.deepcopy(net.state_dict())
        else:
            bad_epochs += 1
        if bad_epochs > args.patience:
            break
    net.load_state_dict(best_weights)


def main():
    torch.manual_seed(33)
    g = torch.Generator().manual_seed(33)
    train, val = listen(2400, True, g), listen(400, True, g)
    test = torch.cat([listen(300, True, g), listen(300, False, g)])
    worn = torch.arange(600) >= 300
    net = Autoencoder(args.widths).to(args.dtype)
    fit(net, train, val)
    errors = squared_errors(net, test)
    area = (errors[worn][:, None] > errors[~worn][None, :]).float().mean().item()
    print(f"healthy {errors[~worn].mean():.4f} worn {errors[worn].mean():.4f} area under the ROC {area:.4f}")


if __name__ == "__main__":
    main()
