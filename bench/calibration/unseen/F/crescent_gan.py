# Two crescents in the plane, drawn by a GAN with the hinge loss. A slow copy of the generator is what is used and
# judged: the energy distance between its points and points held out.
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split

torch.manual_seed(17)

Z, BATCH, STEPS, DECAY = 4, 128, 1200, 0.995

points, _ = make_moons(6000, noise=0.06, random_state=3)
real_train, real_test = train_test_split(points, test_size=1000, random_state=5)
centre, spread = real_train.mean(0), real_train.std(0)
real_train = torch.tensor((real_train - centre) / spread, dtype=torch.float32)
real_test = torch.tensor((real_test - centre) / spread, dtype=torch.float32)


def mlp(n_in, n_out, width=64):
    return nn.Sequential(
        nn.Linear(n_in, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, n_out)
    )


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def sample(g, n):
    return g(torch.randn(n, Z))


@torch.no_grad()
def follow(slow, fast, decay):
    for s, f in zip(slow.parameters(), fast.parameters()):
        s.lerp_(f, 1 - decay)


generator, critic = mlp(Z, 2), mlp(2, 1)
slow_generator = copy.deepcopy(generator).requires_grad_(False)
g_opt = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.9))
c_opt = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.0, 0.9))
g_sched = torch.optim.lr_scheduler.LinearLR(g_opt, 1.0, 0.1, total_iters=STEPS)
c_sched = torch.optim.lr_scheduler.LinearLR(c_opt, 1.0, 0.1, total_iters=STEPS)

for step in range(1, STEPS + 1):
    real = real_train[torch.randint(len(real_train), (BATCH,))]
    with torch.no_grad():
        fake = sample(generator, BATCH)
    critic_loss = F.relu(1 - critic(real)).mean() + F.relu(1 + critic(fake)).mean()
    c_opt.zero_grad()
    critic_loss.backward()
    c_opt.step()

    drawn = sample(generator, BATCH)
    generator_loss = -critic(drawn).mean()
    g_opt.zero_grad()
    generator_loss.backward()
    g_opt.step()

    follow(slow_generator, generator, DECAY)
    g_sched.step()
    c_sched.step()
    if step % 200 == 0:
        with torch.no_grad():
            distance = energy_distance(sample(slow_generator, 1000), real_test)
        print(f"step {step}: energy distance to the held-out points {distance:.5f}")
