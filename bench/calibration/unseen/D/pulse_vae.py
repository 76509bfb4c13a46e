"""A convolutional VAE of pulse waves: two beats in each window, of any height, place and width."""

import torch
import torch.nn as nn

LENGTH, LATENT, SIGMA = 64, 6, 0.15


def pulses(n, generator):
    t = torch.linspace(0, 1, LENGTH)
    first = 0.15 + 0.25 * torch.rand(n, 1, generator=generator)
    second = first + 0.3 + 0.15 * torch.rand(n, 1, generator=generator)
    wave = torch.zeros(n, LENGTH)
    for centre in (first, second):
        height = 0.8 + 1.2 * torch.rand(n, 1, generator=generator)
        wave += height * torch.exp(-(((t - centre) / 0.05) ** 2))
    wave += SIGMA * torch.randn(n, LENGTH, generator=generator)
    return wave.unsqueeze(1)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 16, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv1d(16, 32, 5, stride=2, padding=2),
            nn.SiLU(),
        )
        self.fc = nn.Linear(32 * LENGTH // 4, 2 * LATENT)

    def forward(self, x):
        h = self.layers(x)
        return self.fc(h.reshape(len(x), -1)).chunk(2, dim=1)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(LATENT, 96), nn.SiLU(), nn.Linear(96, 32 * LENGTH // 4), nn.SiLU())
        self.layers = nn.Sequential(
            nn.ConvTranspose1d(32, 16, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.ConvTranspose1d(16, 1, 4, stride=2, padding=1),
        )

    def forward(self, z):
        h = self.fc(z).reshape(len(z), 32, LENGTH // 4)
        return self.layers(h)


class PulseVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec = Encoder(), Decoder()

    def negative_elbo(self, x):
        mu, log_sigma = self.enc(x)
        z = mu + log_sigma.exp() * torch.randn_like(mu)
        rec = self.dec(z)
        misfit = ((x - rec) ** 2 / (2 * SIGMA**2)).sum(dim=(1, 2)).mean()
        kl = (0.5 * mu**2 + 0.5 * (2 * log_sigma).exp() - log_sigma - 0.5).sum(dim=1).mean()
        return misfit + kl, misfit, kl

    def reconstruct(self, x):
        return self.dec(self.enc(x)[0])


class Experiment:
    def __init__(self, batch_size=50, lr=6e-3, epochs=9):
        g = torch.Generator().manual_seed(8)
        self.train_waves, self.test_waves = pulses(1500, g), pulses(300, g)
        self.vae = PulseVAE()
        self.optimizer = torch.optim.Adamax(self.vae.parameters(), lr=lr)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=0.85)
        self.batch_size, self.epochs = batch_size, epochs

    def run(self):
        for epoch in range(self.epochs):
            self.vae.train()
            for batch in torch.randperm(len(self.train_waves)).split(self.batch_size):
                loss, misfit, kl = self.vae.negative_elbo(self.train_waves[batch])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            self.scheduler.step()
            print(f"epoch {epoch}: misfit {misfit.item():.2f} kl {kl.item():.2f} | test {self.test():.4f}")

    @torch.no_grad()
    def test(self):
        """Squared error of the held-out waves, each from its code, in units of the noise."""
        self.vae.eval()
        return ((self.vae.reconstruct(self.test_waves) - self.test_waves) ** 2).mean().item() / SIGMA**2


if __name__ == "__main__":
    torch.manual_seed(8)
    Experiment().run()
