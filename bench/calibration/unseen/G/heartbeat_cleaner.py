"""Remove the noise of a cheap chest strap from heartbeat traces with a residual convolutional network."""

import math

import torch
import torch.nn as nn


def beats(n, length=72):
    """Clean traces: a sharp spike, a broad wave after it and a slow swell, at a rate and a phase of their own."""
    time = torch.arange(length) / length
    rate = 2 + 2 * torch.rand(n, 1)
    turn = (time * rate + torch.rand(n, 1)) % 1.0
    spike = torch.exp(-(((turn - 0.3) / 0.04) ** 2)) - 0.4 * torch.exp(-(((turn - 0.38) / 0.04) ** 2))
    wave = (0.2 + 0.3 * torch.rand(n, 1)) * torch.exp(-(((turn - 0.62) / 0.09) ** 2))
    swell = 0.2 * torch.sin(2 * math.pi * (time + torch.rand(n, 1)))
    trace = 1.5 * (spike + wave) + swell
    return trace.unsqueeze(1)


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv1d(channels, channels, 7, padding=3)
        self.conv2 = nn.Conv1d(channels, channels, 7, padding=3)
        self.act = nn.LeakyReLU(0.05)

    def forward(self, x):
        return x + self.conv2(self.act(self.conv1(self.act(x))))


class Cleaner(nn.Module):
    def __init__(self, channels=12, depth=3):
        super().__init__()
        self.stem = nn.Conv1d(1, channels, 9, padding=4)
        self.blocks = nn.ModuleList([Block(channels) for _ in range(depth)])
        self.out = nn.Conv1d(channels, 1, 9, padding=4)

    def forward(self, noisy):
        h = self.stem(noisy)
        for block in self.blocks:
            h = block(h)
        return self.out(h)


class Trainer:
    def __init__(self, model, train, val, sigma=0.5, batch=32, epochs=11, lr=0.05, max_norm=1.0):
        self.model, self.train_traces, self.sigma = model, train, sigma
        self.val, self.val_noisy = val, val + sigma * torch.randn_like(val)
        self.batch, self.epochs, self.max_norm = batch, epochs, max_norm
        self.criterion = nn.MSELoss()
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, epochs)

    def step(self, clean):
        noisy = clean + self.sigma * torch.randn_like(clean)
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(noisy), clean)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)
        self.optimizer.step()
        return loss.item()

    def fit(self):
        for epoch in range(self.epochs):
            self.model.train()
            order = torch.randperm(len(self.train_traces))
            losses = [self.step(self.train_traces[rows]) for rows in order.split(self.batch)]
            self.scheduler.step()
            if epoch % 3 == 1:
                val = self.score(self.val, self.val_noisy)
                print(f"{epoch:3d} train {sum(losses) / len(losses):.4f} val {val:.4f}")

    @torch.no_grad()
    def score(self, clean, noisy):
        self.model.eval()
        return self.criterion(self.model(noisy), clean).item()


if __name__ == "__main__":
    torch.manual_seed(5)
    trainer = Trainer(Cleaner(), beats(960), beats(200))
    trainer.fit()
    test = beats(300)
    dirty = test + trainer.sigma * torch.randn_like(test)
    print(f"test error {trainer.score(test, dirty):.5f}")
