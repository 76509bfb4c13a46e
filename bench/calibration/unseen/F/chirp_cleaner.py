"""Takes the hiss from recorded chirps: a 1-d convolutional network; the running average of its weights is used."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

LENGTH, HISS = 64, 0.6


def chirps(count, seed):
    """Sweeps that rise or fall within a bump, of unit power."""
    g = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, LENGTH)
    low, sweep, phase, middle = (torch.rand(4, count, 1, generator=g)).unbind(0)
    tone = torch.sin(2 * torch.pi * ((3 + 5 * low) * t + (6 * sweep - 3) * t**2 + phase))
    bump = torch.exp(-(((t - 0.3 - 0.4 * middle) / 0.25) ** 2))
    wave = tone * bump
    return (wave / wave.std(dim=1, keepdim=True)).unsqueeze(1)


class Recordings(Dataset):
    """Clean chirps, each with new hiss whenever it is asked for."""

    def __init__(self, count, seed):
        self.waves = chirps(count, seed)

    def __len__(self):
        return len(self.waves)

    def __getitem__(self, i):
        clean = self.waves[i]
        noisy = clean.clone()
        noisy += HISS * torch.randn(clean.shape)
        return noisy, clean


def stage(c_in, c_out):
    return nn.Sequential(nn.Conv1d(c_in, c_out, 9, padding=4), nn.ReLU())


class Cleaner(nn.Module):
    def __init__(self, width=24, stages=3):
        super().__init__()
        self.enter = stage(1, width)
        self.middle = nn.Sequential(*[stage(width, width) for _ in range(stages - 1)])
        self.leave = nn.Conv1d(width, 1, 9, padding=4)

    def forward(self, noisy):
        return self.leave(self.middle(self.enter(noisy)))


class Workshop:
    def __init__(self, epochs=12):
        self.epochs = epochs
        self.model = Cleaner()
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(0.93))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=2e-3)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=0.85)
        self.train_loader = DataLoader(Recordings(512, seed=1), batch_size=32, shuffle=True)
        self.check_clean = chirps(200, seed=2)
        hiss = torch.randn(self.check_clean.shape, generator=torch.Generator().manual_seed(3))
        self.check_noisy = self.check_clean + HISS * hiss

    def one_epoch(self):
        self.model.train()
        total = 0.0
        for noisy, clean in self.train_loader:
            loss = (self.model(noisy) - clean).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.average.update_parameters(self.model)
            total += loss.item()
        self.scheduler.step()
        return total / len(self.train_loader)

    @torch.no_grad()
    def check(self):
        self.average.eval()
        return (self.average(self.check_noisy) - self.check_clean).square().mean().item()

    def run(self):
        for epoch in range(self.epochs):
            train = self.one_epoch()
            if epoch % 3 == 2:
                print(f"epoch {epoch + 1}: train {train:.4f}, held-out {self.check():.4f}")


if __name__ == "__main__":
    torch.manual_seed(14)
    Workshop().run()
