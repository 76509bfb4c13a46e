"""Who is playing? Spectra of a street band; any of six players may be heard, several at once, or none."""

from collections import namedtuple

import numpy as np
import torch
import torch.nn as nn

PLAYERS = ["fiddle", "flute", "drum", "bass", "horn", "voice"]
BINS = 80
Spectra = namedtuple("Spectra", "x y")


def overtones(player, pitch, rng):
    """Strengths of BINS frequencies: harmonics for those who play tones, a broad hump for the drum."""
    bins = np.arange(BINS)
    if player == "drum":
        return np.exp(-(((bins - rng.uniform(40, 50)) / 10) ** 2))
    decay, odd = {"fiddle": (0.15, 1.0), "flute": (1.2, 0.2), "bass": (0.5, 0.8), "horn": (0.3, 0.0), "voice": (0.7, 1.0)}[player]
    lowest = {"fiddle": 14, "flute": 20, "bass": 4, "horn": 9, "voice": 11}[player]
    base = lowest * pitch
    spectrum = np.zeros(BINS)
    for k in range(1, 9):
        strength = np.exp(-decay * (k - 1)) * (1.0 if k % 2 else odd)
        spectrum += strength * np.exp(-0.5 * ((bins - k * base) / 0.7) ** 2)
    return spectrum


def listen(count, seed):
    rng = np.random.default_rng(seed)
    playing = rng.random((count, len(PLAYERS))) < 0.35
    x = np.zeros((count, BINS))
    for spectrum, who in zip(x, playing):
        for i in np.flatnonzero(who):
            spectrum += rng.uniform(0.6, 1.4) * overtones(PLAYERS[i], rng.uniform(0.9, 1.15), rng)
    x = np.log1p(4 * np.abs(x + rng.normal(0, 0.06, x.shape)))
    return Spectra(torch.tensor(x, dtype=torch.float32), torch.tensor(playing, dtype=torch.float32))


def standardised(like, *sets):
    mu, sigma = like.x.mean(0), like.x.std(0)
    return [Spectra((s.x - mu) / sigma, s.y) for s in sets]


def layer(n_in, n_out, p):
    return [nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(p)]


def make_net(p=0.2):
    return nn.Sequential(*layer(BINS, 96, p), *layer(96, 64, p), nn.Linear(64, len(PLAYERS)))


def right(net, spectra):
    """Share of the players, over all spectra, that are rightly said to play or to be silent."""
    net.eval()
    with torch.no_grad():
        says = net(spectra.x) > 0
    return (says == spectra.y.bool()).float().mean().item()


def teach(net, train, val, epochs=15, size=50):
    crit = nn.BCEWithLogitsLoss()
    o = torch.optim.RMSprop(net.parameters(), lr=1e-3)
    sch = torch.optim.lr_scheduler.StepLR(o, step_size=5, gamma=0.4)
    for epoch in range(epochs):
        net.train()
        sums = 0.0
        for idx in torch.randperm(len(train.x)).split(size):
            o.zero_grad()
            l = crit(net(train.x[idx]), train.y[idx])
            l.backward()
            o.step()
            sums += l.item() * len(idx)
        sch.step()
        if epoch % 3 == 2:
            print(f"{epoch + 1:3d} loss {sums / len(train.x):.4f} val {right(net, val):.4f}")


def main():
    torch.manual_seed(40)
    raw = listen(6000, seed=1)
    train, val, test = standardised(raw, raw, listen(500, seed=2), listen(1200, seed=3))
    net = make_net()
    teach(net, train, val)
    print("right on the test spectra:", f"{right(net, test):.4f}")


if __name__ == "__main__":
    main()
