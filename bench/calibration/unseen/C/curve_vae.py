"""A variational autoencoder of short curves (waves of random pitch, phase and height)."""

from types import SimpleNamespace

import torch
from torch import nn

cfg = SimpleNamespace(points=32, latent=6, hidden=96, batch=64, epochs=16, lr=3e-3, noise_var=0.02, beta=1.0)


def curves(n):
    t = torch.linspace(0, 1, cfg.points)
    pitch, phase = 1 + torch.rand(n, 1), 6.283 * torch.rand(n, 1)
    height = 0.7 + 0.9 * torch.rand(n, 1)
    return height * torch.sin(6.283 * pitch * t + phase) + 0.1 * torch.randn(n, cfg.points)


class CurveVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(cfg.points, cfg.hidden), nn.GELU(), nn.Linear(cfg.hidden, cfg.hidden), nn.GELU()
        )
        self.to_mean = nn.Linear(cfg.hidden, cfg.latent)
        self.to_logvar = nn.Linear(cfg.hidden, cfg.latent)
        self.decoder = nn.Sequential(
            nn.Linear(cfg.latent, cfg.hidden),
            nn.GELU(),
            nn.Linear(cfg.hidden, cfg.hidden),
            nn.GELU(),
            nn.Linear(cfg.hidden, cfg.points),
        )

    def forward(self, x):
        h = self.encoder(x)
        mean, logvar = self.to_mean(h), self.to_logvar(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar) if self.training else mean
        return self.decoder(z), mean, logvar


def misfit(recon, x):
    """Negative log-likelihood of the points given the code, up to a constant."""
    return ((recon - x) ** 2).sum(1) / (2 * cfg.noise_var)


def divergence(mean, logvar):
    return 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum(1)


def run():
    torch.manual_seed(17)
    train, test = curves(2000), curves(400)
    scale = train.std()
    train, test = train / scale, test / scale
    vae = CurveVAE()
    opt = torch.optim.Adam(vae.parameters(), lr=cfg.lr)
    plan = torch.optim.lr_scheduler.MultiStepLR(opt, milestones=[10, 14], gamma=0.3)
    for epoch in range(cfg.epochs):
        vae.train()
        for rows in torch.randperm(len(train)).split(cfg.batch):
            x = train[rows]
            recon, mean, logvar = vae(x)
            loss = (misfit(recon, x) + cfg.beta * divergence(mean, logvar)).mean()
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(vae.parameters(), 100.0)
            opt.step()
        plan.step()
        vae.eval()
        with torch.no_grad():
            recon, mean, logvar = vae(test)
            error = (recon - test).pow(2).mean().item()
        print(f"epoch {epoch}: divergence {divergence(mean, logvar).mean().item():.2f}, held-out squared error {error:.4f}")


run()
