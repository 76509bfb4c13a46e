"""Contrastive pre-training on unlabelled waves (NT-Xent, as in SimCLR), then a linear probe on the frozen encoder."""

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import nn


def make_waves(n, length=64):
    """Four kinds: sine, square, saw-tooth and a beat; pitch, phase, loudness and noise are any."""
    kind = torch.randint(4, (n,))
    t = torch.linspace(0, 1, length)
    turns = (3 + 4 * torch.rand(n, 1)) * t + torch.rand(n, 1)
    sine = torch.sin(2 * torch.pi * turns)
    shapes = torch.stack([sine, torch.sign(sine), 2 * (turns % 1) - 1, sine * torch.cos(0.6 * torch.pi * turns)])
    waves = shapes[kind, torch.arange(n)] + 0.45 * torch.randn(n, length)
    return waves.unsqueeze(1), kind


def augment(waves):
    """Rolled, louder or softer, with fresh noise and a short gap."""
    n, _, length = waves.shape
    shift = torch.randint(length, (n, 1))
    rolled = waves.squeeze(1).gather(1, (torch.arange(length) + shift) % length)
    start = torch.randint(length - 8, (n, 1))
    place = torch.arange(length)
    gap = (place >= start) & (place < start + 8)
    changed = rolled * (0.7 + 0.6 * torch.rand(n, 1)) + 0.1 * torch.randn(n, length)
    return changed.masked_fill(gap, 0.0).unsqueeze(1)


class Encoder(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, width, 7, stride=2, padding=3),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, 2 * width, 5, stride=2, padding=2),
            nn.BatchNorm1d(2 * width),
            nn.ReLU(),
            nn.Conv1d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.layers(x).mean(dim=2)


def nt_xent(a, b, temperature):
    z = F.normalize(torch.cat([a, b]), dim=1)
    n = len(a)
    similarity = z @ z.T / temperature
    similarity = similarity.masked_fill(torch.eye(2 * n, dtype=torch.bool), -1e9)
    partner = torch.arange(2 * n).roll(n)
    return F.cross_entropy(similarity, partner)


def probe(encoder, fit, test):
    encoder.eval()
    with torch.no_grad():
        codes_fit, codes_test = encoder(fit[0]), encoder(test[0])
    encoder.train()
    mean, std = codes_fit.mean(0), codes_fit.std(0) + 1e-6
    linear = LogisticRegression(max_iter=300).fit(((codes_fit - mean) / std).numpy(), fit[1].numpy())
    return linear.score(((codes_test - mean) / std).numpy(), test[1].numpy())


class Pretraining:
    def __init__(self, encoder, n_codes=48, temperature=0.2, lr=2e-3):
        self.encoder = encoder
        self.projector = nn.Sequential(nn.Linear(n_codes, 48), nn.ReLU(), nn.Linear(48, 24))
        self.temperature = temperature
        self.optimizer = torch.optim.AdamW([*encoder.parameters(), *self.projector.parameters()], lr=lr)

    def step(self, waves):
        first = self.projector(self.encoder(augment(waves)))
        second = self.projector(self.encoder(augment(waves)))
        loss = nt_xent(first, second, self.temperature)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


if __name__ == "__main__":
    torch.manual_seed(13)
    unlabelled, _ = make_waves(3000)
    fit, test = make_waves(200), make_waves(800)
    encoder = Encoder()
    pretraining = Pretraining(encoder)
    for epoch in range(8):
        losses = [pretraining.step(unlabelled[pick]) for pick in torch.randperm(len(unlabelled)).split(100)]
        print(f"epoch {epoch}: contrastive loss {sum(losses) / len(losses):.3f}, probe accuracy {probe(encoder, fit, test):.4f}")
