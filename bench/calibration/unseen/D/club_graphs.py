"""Message passing on small graphs of people: who prevails in a club, those at odds with their friends or those at one with them?"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

COLOURS, CLASSES = 4, 3
# how a tie between two colours counts
SYMPATHY = np.array([[1, -1, 0, 1], [-1, 1, 1, 0], [0, 1, -1, -1], [1, 0, -1, 1]])


def club(rng):
    """A random tree with some more ties; the class is how its ties stand on the whole: at odds, mixed or at one."""
    n = int(rng.integers(6, 15))
    ties = np.zeros((n, n), dtype=np.float32)
    for i in range(1, n):
        j = rng.integers(i)
        ties[i, j] = ties[j, i] = 1
    for _ in range(n // 2):
        i, j = rng.choice(n, 2, replace=False)
        ties[i, j] = ties[j, i] = 1
    colour = rng.integers(COLOURS, size=n)
    mood = (np.triu(ties) * SYMPATHY[colour[:, None], colour[None, :]]).sum() / n
    return colour, ties, int(np.digitize(mood, [-0.05, 0.25]))


def pad(clubs):
    """All graphs of a batch, filled up to the largest of them, and which nodes there really are."""
    longest = max(len(colour) for colour, _, _ in clubs)
    nodes = torch.zeros(len(clubs), longest, COLOURS)
    ties = torch.zeros(len(clubs), longest, longest)
    there = torch.zeros(len(clubs), longest, 1)
    for k, (colour, tie, _) in enumerate(clubs):
        n = len(colour)
        nodes[k, torch.arange(n), torch.from_numpy(colour)] = 1
        ties[k, :n, :n] = torch.from_numpy(tie)
        there[k, :n] = 1
    return nodes, ties, there, torch.tensor([label for _, _, label in clubs])


class Round(nn.Module):
    """Every node hears its neighbours, and makes of that and of itself what it is next."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.own = nn.Linear(n_in, n_out)
        self.heard = nn.Linear(n_in, n_out, bias=False)
        self.act = nn.LeakyReLU(0.1)
        self.mix = nn.Linear(n_out, n_out)

    def forward(self, h, ties):
        h = self.act(self.own(h) + self.heard(ties @ h))
        return self.act(self.mix(h))


class GraphNet(nn.Module):
    def __init__(self, width=48, rounds=2):
        super().__init__()
        self.rounds = nn.ModuleList([Round(COLOURS if k == 0 else width, width) for k in range(rounds)])
        self.readout = nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(0.1), nn.Linear(width, CLASSES))

    def forward(self, nodes, ties, there):
        h = nodes
        for listen in self.rounds:
            h = listen(h, ties)
        pooled = (h * there).sum(1) / there.sum(1)
        return self.readout(pooled)


def initialise(module):
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def accuracy(net, batches):
    net.eval()
    hits = total = 0
    with torch.inference_mode():
        for nodes, ties, there, label in batches:
            hits += int((net(nodes, ties, there).argmax(1) == label).sum())
            total += len(label)
    net.train()
    return hits / total


def train(net, clubs, val_batches, epochs, lr, rng):
    opt = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=lr, epochs=epochs, steps_per_epoch=len(clubs) // 32)
    for epoch in range(epochs):
        order = rng.permutation(len(clubs))
        total = 0.0
        for chosen in order.reshape(-1, 32):
            nodes, ties, there, label = pad([clubs[i] for i in chosen])
            loss = F.cross_entropy(net(nodes, ties, there), label)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d} | loss {total / (len(clubs) // 32):.4f} | accuracy {accuracy(net, val_batches):.4f}")


if __name__ == "__main__":
    torch.manual_seed(40)
    rng = np.random.default_rng(40)
    clubs = [club(rng) for _ in range(1920)]
    val_batches = [pad([club(rng) for _ in range(100)]) for _ in range(6)]
    net = GraphNet().apply(initialise)
    train(net, clubs, val_batches, epochs=8, lr=4e-3, rng=rng)
