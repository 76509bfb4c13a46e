"""Old photographic plates of stars, freed of their grain by a residual network; a running average of the weights is used."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

SIDE, PLATES, BATCH, STEPS = 20, 500, 16, 300


def sky(n):
    """Plates [n, 1, SIDE, SIDE] with a few round stars and a faint band."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    plates = torch.zeros(n, SIDE, SIDE)
    for _ in range(5):
        cy, cx = SIDE * torch.rand(2, n, 1, 1)
        bright, size = 0.5 + torch.rand(n, 1, 1), 1 + 1.2 * torch.rand(n, 1, 1)
        plates += bright * torch.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * size**2))
    slope, cut = torch.randn(n, 1, 1), SIDE * torch.rand(n, 1, 1)
    plates += 0.5 * torch.exp(-((y - cut - slope * (x - SIDE / 2)) ** 2) / 18)
    return plates[:, None]


def with_grain(plates, level=0.35):
    return plates + level * torch.randn_like(plates)


class Residual(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(w, w, 3, padding=1), nn.ReLU(), nn.Conv2d(w, w, 3, padding=1))

    def forward(self, x):
        return torch.relu(x + self.f(x))


def cleaner(w=16):
    return nn.Sequential(nn.Conv2d(1, w, 5, padding=2), nn.ReLU(), Residual(w), Residual(w), nn.Conv2d(w, 1, 3, padding=1))


def error(model, noisy, clean):
    model.eval()
    with torch.no_grad():
        return nn.functional.mse_loss(model(noisy), clean).item()


if __name__ == "__main__":
    torch.manual_seed(40)
    plates, val_clean = sky(PLATES), sky(200)
    val_noisy = with_grain(val_clean)
    model = cleaner()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.97))
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.PolynomialLR(adam, total_iters=STEPS, power=0.9)
    for step in range(STEPS):
        model.train()
        clean = plates[torch.randint(PLATES, (BATCH,))]
        noisy = with_grain(clean)
        loss = nn.functional.mse_loss(model(noisy), clean)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        average.update_parameters(model)
        if step % 60 == 59:
            print(f"step {step + 1}: batch {loss.item():.5f}, validation {error(average, val_noisy, val_clean):.5f}")
    print(f"validation error {error(average, val_noisy, val_clean):.5f}")
