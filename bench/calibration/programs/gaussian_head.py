"""A wave whose noise grows: a network with two heads gives mean and variance, trained by Gaussian likelihood."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class TwoHeads(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.mean_head = nn.Linear(hidden, 1)
        self.var_head = nn.Linear(hidden, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.mean_head(h), F.softplus(self.var_head(h)) + 1e-4


def sample(n):
    x = torch.rand(n, 1) * 4 - 2
    noise = 0.05 + 0.2 * (x + 2) / 4
    return x, torch.sin(2 * x) + noise * torch.randn(n, 1)


class Experiment:
    def __init__(self, seed=0, lr=4e-3, batch=64):
        torch.manual_seed(seed)
        self.train_x, self.train_y = sample(2000)
        self.val_x, self.val_y = sample(600)
        self.model = TwoHeads()
        self.criterion = nn.GaussianNLLLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)
        self.batch = batch

    def run_epoch(self):
        self.model.train()
        for idx in torch.randperm(len(self.train_x)).split(self.batch):
            mean, var = self.model(self.train_x[idx])
            loss = self.criterion(mean, self.train_y[idx], var)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    @torch.no_grad()
    def score(self):
        """Validation error of the mean, and how far the standardised residuals are from variance one."""
        self.model.eval()
        mean, var = self.model(self.val_x)
        spread = ((self.val_y - mean) ** 2 / var).mean().item()
        return self.criterion(mean, self.val_y, var).item(), abs(spread - 1)


if __name__ == "__main__":
    experiment = Experiment()
    for epoch in range(25):
        experiment.run_epoch()
        nll, off = experiment.score()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: calibration off by {off:.3f}, validation nll {nll:.4f}")
