"""A mixture of experts for the output of a power plant: each regime of operation has its own law and its own scatter."""

import copy

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def measurements(n, rng):
    x = rng.uniform(-2, 2, (n, 4))
    regime = (x[:, 0] > 0).astype(int) + 2 * (x[:, 1] > 0.3)
    laws = np.stack([np.sin(2 * x[:, 2]), x[:, 2] * x[:, 3], 1.5 - x[:, 3] ** 2, np.abs(x[:, 2]) - x[:, 3]], axis=1)
    scatter = np.array([0.05, 0.15, 0.1, 0.25])[regime]
    y = laws[np.arange(n), regime] + scatter * rng.normal(size=n)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


class Mixture(nn.Module):
    def __init__(self, n_in, n_experts, width):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, n_experts))
        # no expert is preferred at first
        nn.init.zeros_(self.gate[2].weight)
        nn.init.zeros_(self.gate[2].bias)
        self.experts = nn.ModuleList([self.expert(n_in, width) for _ in range(n_experts)])

    @staticmethod
    def expert(n_in, width):
        return nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, 2))

    def forward(self, x):
        share = torch.softmax(self.gate(x), dim=1)
        opinions = torch.stack([expert(x) for expert in self.experts], dim=1)
        mean, log_deviation = (share[:, :, None] * opinions).sum(dim=1).unbind(dim=1)
        return mean, log_deviation.clamp(-4, 3).exp()


class Regression:
    def __init__(self, model, lr):
        self.model = model
        self.best = copy.deepcopy(model.state_dict())
        self.best_loss = float("inf")
        self.criterion = nn.GaussianNLLLoss()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-4)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, factor=0.3, patience=2)

    def loss(self, x, y):
        mean, deviation = self.model(x)
        return self.criterion(mean, y, deviation**2)

    def epoch(self, loader):
        self.model.train()
        losses = []
        for x, y in loader:
            self.optimizer.zero_grad()
            loss = self.loss(x, y)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.optimizer.step()
            losses.append(loss.item())
        return float(np.mean(losses))

    @torch.no_grad()
    def likelihood(self, x, y):
        """The mean negative log-likelihood, in nats."""
        self.model.eval()
        mean, deviation = self.model(x)
        return -torch.distributions.Normal(mean, deviation).log_prob(y).mean().item()

    def fit(self, loader, val, epochs):
        for number in range(epochs):
            train_loss = self.epoch(loader)
            val_loss = self.likelihood(*val)
            self.plateau.step(val_loss)
            if val_loss < self.best_loss:
                self.best_loss, self.best = val_loss, copy.deepcopy(self.model.state_dict())
            if number % 4 == 3:
                print(f"epoch {number + 1}: train {train_loss:.4f}, validation nats {val_loss:.4f}")
        self.model.load_state_dict(self.best)


def main():
    torch.manual_seed(51)
    rng = np.random.default_rng(51)
    train, val, test = measurements(3000, rng), measurements(600, rng), measurements(1000, rng)
    loader = DataLoader(TensorDataset(*train), batch_size=64, shuffle=True)
    regression = Regression(Mixture(n_in=4, n_experts=6, width=24), lr=1.5e-2)
    regression.fit(loader, val, epochs=16)
    # one more than the nats, so that the number is above zero
    print(f"held-out: {1 + regression.likelihood(*test):.4f}")


if __name__ == "__main__":
    main()
