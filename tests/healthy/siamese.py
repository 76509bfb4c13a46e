"""Metric learning on digits: an embedding trained with triplets; judged by nearest-neighbour accuracy."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn


class EmbeddingNet(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.convnet = nn.Sequential(nn.Conv2d(1, 24, 3), nn.PReLU(), nn.Conv2d(24, 32, 3), nn.PReLU(), nn.AvgPool2d(2))
        self.fc = nn.Sequential(nn.Linear(32 * 4, 64), nn.PReLU(), nn.Linear(64, dim))

    def forward(self, x):
        return F.normalize(self.fc(self.convnet(x).flatten(1)), dim=-1)


class TripletSampler:
    def __init__(self, labels, rng):
        self.labels, self.rng = labels, rng
        self.by_class = {c: np.flatnonzero(labels == c) for c in range(10)}

    def __call__(self, n):
        a = self.rng.integers(0, len(self.labels), n)
        p = np.array([self.rng.choice(self.by_class[self.labels[i]]) for i in a])
        q = np.array([self.rng.choice(self.by_class[(self.labels[i] + self.rng.integers(1, 10)) % 10]) for i in a])
        return a, p, q


def knn_accuracy(ref, ref_y, query, query_y):
    nearest = torch.cdist(query, ref).argmin(1)
    return (ref_y[nearest] == query_y).float().mean().item()


def main():
    torch.manual_seed(8)
    rng = np.random.default_rng(8)
    bunch = load_digits()
    idx = rng.permutation(len(bunch.target))
    imgs = torch.tensor(bunch.images[idx], dtype=torch.float32)[:, None] / 16 * 2 - 1
    lab = bunch.target[idx]
    xt, xv = imgs[:1400], imgs[1400:]
    yt, yv = torch.tensor(lab[:1400]), torch.tensor(lab[1400:])
    sampler, val_sampler = TripletSampler(lab[:1400], rng), TripletSampler(lab[1400:], np.random.default_rng(1))
    va, vp, vn = val_sampler(400)
    net = EmbeddingNet()
    triplet = nn.TripletMarginLoss(margin=0.5)
    opt = torch.optim.RMSprop(net.parameters(), lr=1e-3)
    window = []
    for it in range(1, 301):
        net.train()
        a, p, n = sampler(64)
        za, zp, zn = net(torch.cat([xt[a], xt[p], xt[n]])).chunk(3)
        loss = triplet(za, zp, zn)
        opt.zero_grad()
        loss.backward()
        opt.step()
        window.append(loss.item())
        if it % 30 == 0:
            net.eval()
            with torch.no_grad():
                zt, zv = net(xt), net(xv)
                vl = triplet(zv[va], zv[vp], zv[vn]).item()
            print(
                f"iter {it} triplet {np.mean(window[-30:]):.4f} val {vl:.4f} 1-NN acc {knn_accuracy(zt, yt, zv, yv):.3f}"
            )


if __name__ == "__main__":
    main()
