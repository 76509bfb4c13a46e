"""A convolutional VAE for pictures of ellipses; evidence lower bound in nats per picture."""

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(9)


def ellipses(n, side=16):
    """Soft ellipses of any place, size and tilt, as grey values between 0 and 1."""
    axis = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cx, cy = (torch.rand(2, n, 1, 1) - 0.5) * 0.8
    a, b = 0.2 + 0.4 * torch.rand(2, n, 1, 1)
    tilt = torch.rand(n, 1, 1) * 3.14159
    u = (x - cx) * tilt.cos() + (y - cy) * tilt.sin()
    v = (y - cy) * tilt.cos() - (x - cx) * tilt.sin()
    return torch.sigmoid(8 * (1 - (u / a) ** 2 - (v / b) ** 2)).unsqueeze(1)


class ConvVAE(nn.Module):
    def __init__(self, latent=6):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 12, 4, stride=2, padding=1),
            nn.ELU(),
            nn.Conv2d(12, 24, 4, stride=2, padding=1),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(24 * 16, 64),
            nn.ELU(),
        )
        self.to_mu = nn.Linear(64, latent)
        self.to_logvar = nn.Linear(64, latent)
        self.widen = nn.Sequential(nn.Linear(latent, 64), nn.ELU(), nn.Linear(64, 24 * 16), nn.ELU())
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(24, 12, 4, stride=2, padding=1),
            nn.ELU(),
            nn.ConvTranspose2d(12, 1, 4, stride=2, padding=1),
        )

    def decode(self, z):
        return self.decoder(self.widen(z).view(-1, 24, 4, 4))

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.to_mu(h), self.to_logvar(h)
        z = mu
        if self.training:
            z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decode(z), mu, logvar


def reconstruction(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3)).mean()


def divergence(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1).mean()


train, valid = ellipses(1600), ellipses(300)
vae = ConvVAE()
optimizer = torch.optim.Adam(vae.parameters(), lr=2e-3)

for epoch in range(10):
    vae.train()
    for x in train[torch.randperm(len(train))].split(50):
        logits, mu, logvar = vae(x)
        loss = reconstruction(logits, x) + divergence(mu, logvar)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    vae.eval()
    with torch.no_grad():
        logits, mu, logvar = vae(valid)
        floor = F.binary_cross_entropy(valid, valid, reduction="none").sum((1, 2, 3)).mean()
        rec, kl = reconstruction(logits, valid) - floor, divergence(mu, logvar)
    print(f"epoch {epoch}: train {loss.item():.2f}, kl {kl:.2f}, reconstruction above its floor {rec:.3f}")
