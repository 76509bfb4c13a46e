"""Dendrochronology: how old is a branch? Judges disagree, so a core has a distribution of ages, not one age."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

AGES = 12  # 4 to 15 rings in a core
SAMPLES = 72
PER_STEP = 2  # batches to a step


def cores(n, generator):
    """Grey values along n cores, and what share of the judges would say which age."""
    rand = lambda *shape: torch.rand(*shape, generator=generator)
    age = torch.randint(0, AGES, (n,), generator=generator)
    position = torch.linspace(0, 1, SAMPLES)
    warp = 0.04 * (rand(n, 1) - 0.5) * torch.sin(2 * math.pi * position)
    phase = 2 * math.pi * (age + 4)[:, None] * (position + warp) + 0.6 * rand(n, 1)
    blur = 0.2 + 0.8 * rand(n, 1)
    grey = (1.2 - blur) * torch.cos(phase) + 0.5 * torch.linspace(1, -1, SAMPLES) * (rand(n, 1) - 0.5)
    grey = grey + 0.25 * torch.randn(n, SAMPLES, generator=generator)
    spread = 0.8 + 1.2 * blur
    opinions = torch.exp(-0.5 * ((torch.arange(AGES) - age[:, None]) / spread) ** 2)
    return grey, opinions / opinions.sum(1, keepdim=True)


def build(width):
    return nn.Sequential(
        nn.Conv1d(1, width, 9, stride=2, padding=4),
        nn.ReLU(),
        nn.Conv1d(width, width, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv1d(width, width, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width * SAMPLES // 8, 48),
        nn.ReLU(),
        nn.Linear(48, AGES),
    )


def make_trainer(net, optimizer, scheduler, batch):
    kl = nn.KLDivLoss(reduction="batchmean")

    def epoch(grey, opinions):
        net.train()
        total = 0.0
        pieces = torch.randperm(len(grey)).split(batch)
        optimizer.zero_grad()
        for i, rows in enumerate(pieces):
            said = F.log_softmax(net(grey[rows, None]), dim=-1)
            loss = kl(said, opinions[rows])
            (loss / PER_STEP).backward()
            if (i + 1) % PER_STEP == 0:
                optimizer.step()
                optimizer.zero_grad()
            total += loss.item()
        scheduler.step()
        return total / len(pieces)

    def judge(grey, opinions):
        """Mean divergence in nats of what the net says from what the judges say."""
        net.eval()
        with torch.no_grad():
            said = net(grey[:, None]).log_softmax(1)
        return (opinions * (opinions.log() - said)).sum(1).mean().item()

    return epoch, judge


def main():
    torch.manual_seed(17)
    generator = torch.Generator().manual_seed(18)
    train, val, test = cores(5600, generator), cores(400, generator), cores(800, generator)
    net = build(16)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.08, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    epoch, judge = make_trainer(net, optimizer, scheduler, batch=32)
    for number in range(1, 11):
        mean_loss = epoch(*train)
        if number % 2 == 0:
            print(f"epoch {number}: divergence {mean_loss:.4f}, validation {judge(*val):.4f}")
    print(f"test divergence {judge(*test):.4f}")


if __name__ == "__main__":
    main()
