"""Energy of small made-up molecules from atoms and bonds: message passing by hand, many molecules in one big graph."""

import random

import torch
from torch import nn

ATOMS = 4
CHARGE = torch.tensor([0.3, -0.5, 1.0, -0.8])
BOND = torch.tensor([[0.9, -0.3, 0.5, 0.1], [-0.3, 1.2, -0.7, 0.4], [0.5, -0.7, 0.2, -0.9], [0.1, 0.4, -0.9, 0.6]])


class ShiftedSoftplus(torch.autograd.Function):
    """log(1 + exp(x)) - log(2), with a derivative written out."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return nn.functional.softplus(x) - 0.6931471805599453

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * torch.sigmoid(x)


def ssp(x):
    return ShiftedSoftplus.apply(x)


def molecule(rnd):
    """A random tree with now and then a ring; energy in kcal, most of it from the number of atoms."""
    n = rnd.randint(4, 10)
    kinds = torch.tensor([rnd.randrange(ATOMS) for _ in range(n)])
    bonds = [(i, rnd.randrange(max(0, i - 3), i)) for i in range(1, n)]
    if rnd.random() < 0.4:
        bonds.append((0, n - 1))
    a, b = torch.tensor(bonds).t()
    around = torch.zeros(n).index_add(0, a, CHARGE[kinds[b]]).index_add(0, b, CHARGE[kinds[a]])
    energy = -60.0 * n + 25.0 * BOND[kinds[a], kinds[b]].sum() + 12.0 * torch.tanh(around).sum() + rnd.gauss(0, 1.0)
    return kinds, torch.cat([torch.stack([a, b]), torch.stack([b, a])], dim=1), float(energy)


def collate(molecules):
    kinds, edges, sizes, energy, offset = [], [], [], [], 0
    for atoms, bonds, e in molecules:
        kinds.append(atoms)
        edges.append(bonds + offset)
        sizes.append(len(atoms))
        energy.append(e)
        offset += len(atoms)
    return torch.cat(kinds), torch.cat(edges, dim=1), torch.tensor(sizes), torch.tensor(energy)


class Interaction(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.message = nn.Linear(2 * dim, dim)
        self.update = nn.Linear(2 * dim, dim)

    def forward(self, h, edges):
        source, target = edges
        m = ssp(self.message(torch.cat([h[source], h[target]], dim=1)))
        gathered = torch.zeros_like(h).index_add(0, target, m)
        return h + ssp(self.update(torch.cat([h, gathered], dim=1)))


class EnergyNet(nn.Module):
    def __init__(self, dim=32, rounds=3):
        super().__init__()
        self.atom = nn.Embedding(ATOMS, dim)
        self.rounds = nn.ModuleList(Interaction(dim) for _ in range(rounds))
        self.readout = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))

    def forward(self, kinds, edges, sizes):
        h = self.atom(kinds)
        for interaction in self.rounds:
            h = interaction(h, edges)
        each = self.readout(h).squeeze(1)
        owner = torch.arange(len(sizes)).repeat_interleave(sizes)
        return torch.zeros(len(sizes)).index_add(0, owner, each)


def mean_error(net, molecules, per_atom, std):
    kinds, edges, sizes, energy = collate(molecules)
    net.eval()
    with torch.no_grad():
        predicted = net(kinds, edges, sizes) * std + per_atom * sizes
    net.train()
    return (predicted - energy).abs().mean().item()


def main():
    torch.manual_seed(14)
    rnd = random.Random(14)
    train, val = [molecule(rnd) for _ in range(800)], [molecule(rnd) for _ in range(200)]
    _, _, sizes, energies = collate(train)
    per_atom = energies.sum() / sizes.sum()
    std = (energies - per_atom * sizes).std()
    net = EnergyNet()
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    decay = torch.optim.lr_scheduler.MultiStepLR(adam, milestones=[12, 16], gamma=0.3)
    for epoch in range(18):
        rnd.shuffle(train)
        for i in range(0, len(train), 40):
            kinds, edges, sizes, energy = collate(train[i : i + 40])
            target = (energy - per_atom * sizes) / std
            adam.zero_grad()
            loss = nn.functional.mse_loss(net(kinds, edges, sizes), target)
            loss.backward()
            adam.step()
        decay.step()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: loss {loss.item():.5f}, validation error {mean_error(net, val, per_atom, std):.4f} kcal")


if __name__ == "__main__":
    main()
