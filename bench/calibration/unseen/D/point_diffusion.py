# Denoising diffusion of points in the plane: two interleaved spirals are turned into noise and back.
# What is judged are points drawn with averaged weights: their energy distance to held-out points.
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

STEPS = 60


def spirals(n):
    t = 0.6 + 2.6 * torch.rand(n).sqrt() * math.pi / 2
    side = torch.randint(2, (n,)) * math.pi
    points = torch.stack([t * torch.cos(2 * t + side), t * torch.sin(2 * t + side)], dim=1)
    return points / 2.2 + 0.03 * torch.randn(n, 2)


betas = torch.linspace(1e-3, 0.15, STEPS)
alphas = 1 - betas
alpha_bars = torch.cumprod(alphas, dim=0)


class Denoiser(nn.Module):
    """Tells the noise in a point from the point and the time."""

    def __init__(self, width=96, depth=3):
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(5) * math.pi / 2)
        self.enter = nn.Linear(2, width)
        self.clock = nn.Linear(10, width)
        self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.act = nn.SiLU()
        self.leave = nn.Linear(width, 2)

    def forward(self, x, step):
        angle = (step / STEPS)[:, None] * self.frequencies
        when = self.clock(torch.cat([angle.sin(), angle.cos()], dim=1))
        h = self.enter(x) + when
        for layer in self.hidden:
            h = self.act(layer(h) + when)
        return self.leave(h)


class Average:
    """An exponential moving average of the weights."""

    def __init__(self, model, decay):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for mean, now in zip(self.model.parameters(), model.parameters()):
            mean.copy_(self.decay * mean + (1 - self.decay) * now)


@torch.no_grad()
def draw(model, n):
    x = torch.randn(n, 2)
    for t in reversed(range(STEPS)):
        noise = model(x, torch.full((n,), t))
        x = (x - betas[t] / (1 - alpha_bars[t]).sqrt() * noise) / alphas[t].sqrt()
        if t > 0:
            variance = betas[t] * (1 - alpha_bars[t - 1]) / (1 - alpha_bars[t])
            x = x + variance.sqrt() * torch.randn(n, 2)
    return x


def energy_distance(a, b):
    within = torch.pdist(a).mean() + torch.pdist(b).mean()
    return (2 * torch.cdist(a, b).mean() - within).item()


torch.manual_seed(33)
train_points, test_points = spirals(4000), spirals(1500)
denoiser = Denoiser()
average = Average(denoiser, decay=0.99)
opt = torch.optim.Adam(denoiser.parameters(), lr=2e-3)
sched = torch.optim.lr_scheduler.LinearLR(opt, start_factor=1.0, end_factor=0.1, total_iters=40)

for epoch in range(40):
    train_points = train_points[torch.randperm(len(train_points))]
    total = 0.0
    for points in train_points.split(200):
        step = torch.randint(STEPS, (len(points),))
        noise = torch.randn_like(points)
        signal = alpha_bars[step].sqrt()[:, None]
        spread = (1 - alpha_bars[step]).sqrt()[:, None]
        noisy = points * signal + noise * spread
        loss = F.mse_loss(denoiser(noisy, step), noise)
        opt.zero_grad()
        loss.backward()
        opt.step()
        average.update(denoiser)
        total += loss.item()
    sched.step()
    if epoch % 10 == 9:
        far = energy_distance(draw(average.model, 1500), test_points)
        print(f"epoch {epoch + 1}: noise error {total / 20:.4f}  energy distance {far:.5f}")
