"""A Wasserstein GAN with clipped weights and RMSprop, as in the first paper, on a mixture of three Gaussians."""

import torch
from torch import nn


def mixture(n):
    centres = torch.tensor([[1.0, 0.0], [-0.5, 0.87], [-0.5, -0.87]])
    return centres[torch.randint(3, (n,))] + 0.15 * torch.randn(n, 2)


def make_mlp(*sizes):
    layers = []
    for n_in, n_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def energy_distance(x, y):
    return 2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean()


class WGAN:
    def __init__(self, latent=3, clip=0.1, n_critic=4, lr=1e-3):
        self.latent, self.clip, self.n_critic = latent, clip, n_critic
        self.generator = make_mlp(latent, 48, 48, 2)
        self.critic = make_mlp(2, 48, 48, 1)
        self.optim_g = torch.optim.RMSprop(self.generator.parameters(), lr=lr)
        self.optim_c = torch.optim.RMSprop(self.critic.parameters(), lr=lr)

    def sample(self, n):
        return self.generator(torch.randn(n, self.latent))

    def critic_step(self, n):
        real, fake = mixture(n), self.sample(n).detach()
        loss = self.critic(fake).mean() - self.critic(real).mean()
        self.optim_c.zero_grad()
        loss.backward()
        self.optim_c.step()
        for p in self.critic.parameters():
            p.data.clamp_(-self.clip, self.clip)
        return loss.item()

    def generator_step(self, n):
        loss = -self.critic(self.sample(n)).mean()
        self.optim_g.zero_grad()
        loss.backward()
        self.optim_g.step()
        return loss.item()

    def train(self, iterations, batch=128):
        for i in range(iterations):
            for _ in range(self.n_critic):
                c = self.critic_step(batch)
            g = self.generator_step(batch)
            if (i + 1) % 50 == 0:
                with torch.no_grad():
                    d = energy_distance(self.sample(500), mixture(500)).item()
                print(f"{i + 1}: critic {c:.4f} generator {g:.4f} energy distance {d:.4f}")


if __name__ == "__main__":
    torch.manual_seed(5)
    WGAN().train(300)
