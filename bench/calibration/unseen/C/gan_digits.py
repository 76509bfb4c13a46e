"""A GAN that draws zeros and ones of eight by eight. Judged by the Frechet distance to held-out digits."""

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch import optim

BATCH, LATENT, STEPS = 64, 8, 1000


def load():
    x, _ = load_digits(n_class=2, return_X_y=True)
    x = torch.tensor(x, dtype=torch.float32) / 8 - 1
    x = x[torch.randperm(len(x))]
    return x[:260], x[260:]


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(LATENT, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU()
        )
        self.out = nn.Linear(96, 64)

    def forward(self, z):
        return torch.tanh(self.out(self.body(z)))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 32), nn.LeakyReLU(0.2))
        self.out = nn.Linear(32, 1)

    def forward(self, x):
        return self.out(self.body(x)).squeeze(1)


def frechet(a, b):
    """The squared distance between two normal distributions fitted to the pictures, a pixel in units of 1."""
    mean_a, mean_b, cov_a, cov_b = a.mean(0), b.mean(0), np.cov(a.T), np.cov(b.T)
    eigenvalues = np.linalg.eigvals(cov_a @ cov_b)
    covmean = np.sqrt(np.clip(eigenvalues.real, 0, None)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * covmean)


def sample(generator, n):
    generator.eval()
    with torch.no_grad():
        drawn = generator(torch.randn(n, LATENT))
    generator.train()
    return drawn


def main():
    torch.manual_seed(6)
    real_train, real_test = load()
    gen, disc = Generator(), Discriminator()
    gen_opt = optim.Adam(gen.parameters(), lr=6e-4, betas=(0.5, 0.999))
    disc_opt = optim.Adam(disc.parameters(), lr=6e-4, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    for step in range(STEPS):
        real = real_train[torch.randint(len(real_train), (BATCH,))]
        noise = torch.randn(BATCH, LATENT)

        # the discriminator
        fake = gen(noise)
        disc_loss = bce(disc(real), torch.full((BATCH,), 0.9)) + bce(disc(fake.detach()), torch.zeros(BATCH))
        disc_opt.zero_grad()
        disc_loss.backward()
        disc_opt.step()

        # the generator
        gen_loss = bce(disc(fake), torch.ones(BATCH))
        gen_opt.zero_grad()
        gen_loss.backward()
        gen_opt.step()

        if (step + 1) % 200 == 0:
            distance = frechet(sample(gen, 500).numpy(), real_test.numpy())
            print(f"step {step + 1} D {disc_loss.item():.3f} G {gen_loss.item():.3f} distance {distance:.3f}")


main()
