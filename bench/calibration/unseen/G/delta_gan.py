# A GAN of where silt settles in a river delta: three arms in the plane, of unequal length. The generator's samples are
# compared with silt that was never shown to it (energy distance, less is better).
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(14)


def settle(n):
    arm = torch.randint(3, (n,))
    along = torch.rand(n) ** 0.7
    angle = torch.tensor([-0.9, 0.0, 0.8])[arm] + 0.25 * along
    reach = torch.tensor([1.4, 2.0, 1.6])[arm] * along
    silt = torch.stack([reach * angle.cos(), reach * angle.sin()], 1)
    return (silt + 0.04 * torch.randn(n, 2) - torch.tensor([0.8, 0.1])) / 0.6


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


silt, unseen = settle(6000), settle(2000)

netG = nn.Sequential(nn.Linear(4, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2))
netD = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
optG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.99))
optD = torch.optim.Adam(netD.parameters(), lr=2e-3, betas=(0.5, 0.99))
BATCH, STEPS = 128, 1400
lr_G = torch.optim.lr_scheduler.LinearLR(optG, 1.0, 0.05, total_iters=STEPS)
lr_D = torch.optim.lr_scheduler.LinearLR(optD, 1.0, 0.05, total_iters=STEPS)
probe = torch.randn(2000, 4)

for step in range(1, STEPS + 1):
    real = silt[torch.randint(len(silt), (BATCH,))]
    fake = netG(torch.randn(BATCH, 4))

    # the critic: real above fake (softplus is the logistic loss), with a gradient penalty on what is real
    real = real.requires_grad_(True)
    on_real = netD(real)
    on_fake = netD(fake.detach())
    slope, = torch.autograd.grad(on_real.sum(), real, create_graph=True)
    lossD = F.softplus(-on_real).mean() + F.softplus(on_fake).mean() + 0.05 * slope.square().sum(1).mean()
    optD.zero_grad()
    lossD.backward()
    optD.step()

    # the generator, by what the critic says now
    lossG = F.softplus(-netD(fake)).mean()
    optG.zero_grad()
    lossG.backward()
    optG.step()
    lr_G.step()
    lr_D.step()

    if step % 200 == 0:
        with torch.no_grad():
            gap = energy_distance(netG(probe), unseen)
        print(f"step {step:4d}  D {lossD.item():.3f}  G {lossG.item():.3f}  energy distance {gap:.4f}")

with torch.no_grad():
    print(f"energy distance {energy_distance(netG(torch.randn(2000, 4)), unseen):.4f}")
