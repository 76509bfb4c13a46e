# Noise off handwritten digits: an autoencoder with skip connections (a very small U-Net).
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(1)
SIGMA = 0.6

digits = load_digits().images.astype(np.float32) / 8.0 - 1.0  # in [-1, 1]
clean_train, clean_test = train_test_split(digits, test_size=0.25, random_state=0)
clean_train = torch.from_numpy(clean_train).unsqueeze(1)
clean_test = torch.from_numpy(clean_test).unsqueeze(1)
noisy_test = clean_test + SIGMA * torch.randn_like(clean_test)


def block(c_in, c_out):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1),
        nn.GroupNorm(4, c_out),
        nn.SiLU(),
    )


class SkipDenoiser(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.enc1 = block(1, c)
        self.enc2 = block(c, 2 * c)
        self.mid = block(2 * c, 2 * c)
        self.dec2 = block(4 * c, 2 * c)
        self.dec1 = block(3 * c, c)
        self.out = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.enc1(x)
        b = self.enc2(F.avg_pool2d(a, 2))
        m = self.mid(F.avg_pool2d(b, 2))
        d = F.interpolate(m, scale_factor=2)
        d = self.dec2(torch.cat([d, b], dim=1))
        d = F.interpolate(d, scale_factor=2)
        d = self.dec1(torch.cat([d, a], dim=1))
        return self.out(d)


m = SkipDenoiser()
o = torch.optim.Adam(m.parameters(), lr=4e-3)
crit = nn.MSELoss()
sched = torch.optim.lr_scheduler.MultiStepLR(o, milestones=[10, 14], gamma=0.3)

for epoch in range(16):
    m.train()
    running = []
    for idx in torch.randperm(len(clean_train)).split(64):
        x = clean_train[idx]
        noisy = x + SIGMA * torch.randn_like(x)
        loss = crit(m(noisy), x)
        o.zero_grad()
        loss.backward()
        o.step()
        running.append(loss.item())
    sched.step()
    m.eval()
    with torch.no_grad():
        test_mse = crit(m(noisy_test), clean_test).item()
    print(f"epoch {epoch:2d}   train {np.mean(running):.4f}   test mse {test_mse:.4f}")
