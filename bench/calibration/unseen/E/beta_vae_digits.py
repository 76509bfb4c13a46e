"""A beta-VAE of the 8x8 digits in black and white: six latents, beta raised over the first epochs."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.distributions import Normal, kl_divergence
from torch.utils.data import DataLoader

LATENT, BETA, RAMP, EPOCHS = 6, 1.2, 6, 25


def load(batch_size):
    pixels = (load_digits().data > 7.5).astype("float32")
    train, test = train_test_split(torch.from_numpy(pixels), test_size=0.25, random_state=3)
    return DataLoader(train, batch_size=batch_size, shuffle=True), test


def build():
    encoder = nn.Sequential(nn.Linear(64, 128), nn.ELU(), nn.Linear(128, 64), nn.ELU(), nn.Linear(64, 2 * LATENT))
    decoder = nn.Sequential(nn.Linear(LATENT, 64), nn.ELU(), nn.Linear(64, 128), nn.ELU(), nn.Linear(128, 64))
    return nn.ModuleDict({"encoder": encoder, "decoder": decoder})


def encode(vae, x):
    mu, log_sigma = vae["encoder"](x).chunk(2, dim=1)
    return Normal(mu, log_sigma.clamp(-6.0, 3.0).exp())


def parts(vae, x):
    """Reconstruction error and divergence of each picture, in nats."""
    q = encode(vae, x)
    z = q.rsample()
    logits = vae["decoder"](z)
    missed = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    divergence = kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    return missed, divergence


def beta_at(epoch):
    return BETA * min(1.0, (epoch + 1) / RAMP)


def train_one_epoch(vae, loader, opt, beta):
    for x in loader:
        missed, divergence = parts(vae, x)
        loss = missed.mean() + beta * divergence.mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


@torch.no_grad()
def evaluate(vae, x, draws=5):
    both = [parts(vae, x) for _ in range(draws)]
    missed = torch.stack([m for m, _ in both]).mean().item()
    divergence = torch.stack([d for _, d in both]).mean().item()
    return missed, divergence


def main():
    torch.manual_seed(17)
    loader, test = load(batch_size=64)
    vae = build()
    opt = torch.optim.Adam(vae.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(opt, step_size=10, gamma=0.5)
    for epoch in range(EPOCHS):
        loss = train_one_epoch(vae, loader, opt, beta_at(epoch))
        scheduler.step()
        if epoch % 4 == 0:
            missed, divergence = evaluate(vae, test)
            print(f"epoch {epoch}: train {loss:.3f} | test reconstruction {missed:.3f} divergence {divergence:.3f} bound {missed + divergence:.3f}")


main()
