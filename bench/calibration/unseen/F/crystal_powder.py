"""Powder diffraction: an autoencoder learns from many unlabelled patterns, then a head on its frozen encoder names
the crystal from a few labelled ones."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ANGLES, CODE, CRYSTALS = 80, 12, 6


def patterns(count, seed):
    """Peaks at the angles of one of six crystals; strain moves them, grain size widens them, texture scales heights."""
    lines = torch.Generator().manual_seed(99)
    place = 8 + 64 * torch.rand(CRYSTALS, 5, generator=lines)
    height = 0.4 + 0.6 * torch.rand(CRYSTALS, 5, generator=lines)
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, CRYSTALS, (count,), generator=g)
    strain = 1 + 0.02 * torch.randn(count, 1, generator=g)
    width = 1.0 + torch.rand(count, 1, 1, generator=g)
    texture = 0.4 + 1.2 * torch.rand(count, 5, generator=g)
    angle = torch.arange(ANGLES, dtype=torch.float32)
    peaks = torch.exp(-(((angle - (place[kind] * strain)[:, :, None]) / width) ** 2))
    clean = (peaks * (height[kind] * texture)[:, :, None]).sum(1)
    return clean + 0.25 * torch.randn(count, ANGLES, generator=g), kind


def make_encoder():
    return nn.Sequential(nn.Linear(ANGLES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CODE))


def make_decoder():
    return nn.Sequential(nn.Linear(CODE, 64), nn.ReLU(), nn.Linear(64, ANGLES))


def pretrain(encoder, decoder, x, epochs):
    autoencoder = nn.Sequential(encoder, decoder)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
    loader = DataLoader(TensorDataset(x), batch_size=64, shuffle=True)
    for epoch in range(epochs):
        total = 0.0
        for (batch,) in loader:
            loss = nn.functional.mse_loss(autoencoder(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 3 == 2:
            print(f"pretraining {epoch + 1}: reconstruction {total / len(loader):.4f}")
    return encoder.state_dict()


def train_head(encoder, head, x, y, epochs):
    for p in encoder.parameters():
        p.requires_grad_(False)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3)
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True)
    for epoch in range(epochs):
        for features, labels in loader:
            logits = head(encoder(features))
            loss = criterion(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 10 == 9:
            print(f"head {epoch + 1}: loss {loss.item():.4f}")


def score(encoder, head, x, y):
    encoder.eval()
    head.eval()
    with torch.no_grad():
        return (head(encoder(x)).argmax(dim=1) == y).float().mean().item()


if __name__ == "__main__":
    torch.manual_seed(4)
    unlabelled, _ = patterns(2000, seed=1)
    few_x, few_y = patterns(240, seed=2)
    test_x, test_y = patterns(1500, seed=3)
    level, spread = unlabelled.mean(), unlabelled.std()
    unlabelled, few_x, test_x = ((part - level) / spread for part in (unlabelled, few_x, test_x))

    learned = pretrain(make_encoder(), make_decoder(), unlabelled, epochs=12)
    encoder = make_encoder()
    encoder.load_state_dict(learned)
    head = nn.Sequential(nn.BatchNorm1d(CODE), nn.Linear(CODE, CRYSTALS))
    train_head(encoder, head, few_x, few_y, epochs=40)
    print(f"accuracy on labelled patterns {score(encoder, head, few_x, few_y):.4f}")
    print(f"accuracy on unseen patterns {score(encoder, head, test_x, test_y):.4f}")
