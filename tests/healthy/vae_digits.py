"""A variational autoencoder on the digits, pixels seen as Bernoulli probabilities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, random_split


class VAE(nn.Module):
    def __init__(self, latent: int = 6, hidden: int = 128) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, hidden), nn.ReLU())
        self.fc_mu = nn.Linear(hidden, latent)
        self.fc_logvar = nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 64))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(x)
        return self.fc_mu(h), self.fc_logvar(h)

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        std = torch.exp(0.5 * logvar)
        return mu + std * torch.randn_like(std)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encode(x)
        return self.decoder(self.reparameterize(mu, logvar)), mu, logvar


def elbo_terms(logits: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstruction and KL term in nats per image."""
    bce = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / x.size(0)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / x.size(0)
    return bce, kld


def run_epoch(
    model: VAE, loader: DataLoader, device: torch.device, optimizer: torch.optim.Optimizer | None = None
) -> tuple[float, float]:
    training = optimizer is not None
    model.train(training)
    sum_bce = sum_kld = 0.0
    with torch.set_grad_enabled(training):
        for x in loader:
            x = x.to(device)
            logits, mu, logvar = model(x)
            bce, kld = elbo_terms(logits, x, mu, logvar)
            if optimizer is not None:
                optimizer.zero_grad()
                (bce + kld).backward()
                optimizer.step()
            sum_bce += bce.item() * len(x)
            sum_kld += kld.item() * len(x)
    n = len(loader.dataset)
    return sum_bce / n, sum_kld / n


def main() -> None:
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pixels = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    train_set, val_set = random_split(pixels, [1500, len(pixels) - 1500])
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=297)

    model = VAE().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(30):
        bce, kld = run_epoch(model, train_loader, device, optimizer)
        vbce, vkld = run_epoch(model, val_loader, device)
        if epoch % 3 == 2:
            print(
                f"epoch {epoch + 1}: train elbo {-(bce + kld):.2f} (bce {bce:.2f}, kl {kld:.2f})  "
                f"val elbo {-(vbce + vkld):.2f} (bce {vbce:.2f}, kl {vkld:.2f})"
            )


if __name__ == "__main__":
    main()
