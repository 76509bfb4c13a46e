# ruff: noqa: N816
# Wasserstein GAN with gradient penalty on the two-moons points.
import torch
import torch.nn as nn
from sklearn.datasets import make_moons

torch.manual_seed(3)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# hyper-parameters
nz = 4
n_critic = 3
lambda_gp = 1.0
batch_size = 128
n_iters = 450
lr = 1e-3

points, _ = make_moons(n_samples=4000, noise=0.05, random_state=0)
points = torch.tensor(points, dtype=torch.float32)
points = (points - points.mean(0)) / points.std(0)
real_train, real_test = points[:3500].to(device), points[3500:].to(device)


def mlp(n_in, n_out, width=64):
    return nn.Sequential(
        nn.Linear(n_in, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, n_out),
    )


netG = mlp(nz, 2).to(device)
netD = mlp(2, 1).to(device)
optimizerD = torch.optim.Adam(netD.parameters(), lr=lr, betas=(0.5, 0.9))
optimizerG = torch.optim.Adam(netG.parameters(), lr=lr, betas=(0.5, 0.9))


def gradient_penalty(real, fake):
    eps = torch.rand(real.size(0), 1, device=device)
    mixed = (eps * real + (1 - eps) * fake).requires_grad_(True)
    (grad,) = torch.autograd.grad(netD(mixed).sum(), mixed, create_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def sample(n):
    return netG(torch.randn(n, nz, device=device))


for it in range(n_iters):
    # train the critic
    for _ in range(n_critic):
        real = real_train[torch.randint(len(real_train), (batch_size,))]
        fake = sample(batch_size).detach()
        netD.zero_grad()
        errD = netD(fake).mean() - netD(real).mean() + lambda_gp * gradient_penalty(real, fake)
        errD.backward()
        optimizerD.step()

    # train the generator
    netG.zero_grad()
    errG = -netD(sample(batch_size)).mean()
    errG.backward()
    optimizerG.step()

    if it % 50 == 0 or it == n_iters - 1:
        with torch.no_grad():
            dist = energy_distance(sample(500), real_test)
        print(f"[{it}/{n_iters}] Loss_D {errD.item():.4f} Loss_G {errG.item():.4f} energy distance {dist:.4f}")
