"""Supervised contrastive learning: digits of one kind lie together on a sphere. Judged by the class means of a few of them."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


class Encoder(nn.Module):
    def __init__(self, embedding_dim=12):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.drop = nn.Dropout(0.1)
        self.embed = nn.Linear(24 * 16, embedding_dim)

    def forward(self, x):
        return F.normalize(self.embed(self.drop(self.trunk(x))), dim=1)


def contrastive_loss(z, labels, temperature):
    """Of all the others in the batch, those of the same kind should be the nearest (Khosla et al., L_out)."""
    similarity = z @ z.t() / temperature
    itself = torch.eye(len(z), dtype=torch.bool)
    log_p = similarity - torch.logsumexp(similarity.masked_fill(itself, float("-inf")), dim=1, keepdim=True)
    alike = (labels[:, None] == labels[None, :]) & ~itself
    per_anchor = (log_p * alike).sum(1) / alike.sum(1).clamp(min=1)
    return -per_anchor.mean()


def jitter(x):
    """Another contrast, and a little noise."""
    return x * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1)) + 0.05 * torch.randn_like(x)


@torch.no_grad()
def few_shot_accuracy(encoder, x_few, y_few, x_test, y_test):
    encoder.eval()
    few = encoder(x_few)
    means = F.normalize(torch.stack([few[y_few == c].mean(0) for c in range(10)]), dim=1)
    guess = (encoder(x_test) @ means.t()).argmax(1)
    encoder.train()
    return (guess == y_test).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--temperature", type=float, default=0.2)
    args = parser.parse_args()

    torch.manual_seed(11)
    bunch = load_digits()
    x = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16 - 0.3
    y = torch.tensor(bunch.target)
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    x_train, y_train, x_test, y_test = x[:1300], y[:1300], x[1300:], y[1300:]
    few = torch.cat([torch.nonzero(y_train == c).flatten()[:20] for c in range(10)])

    encoder = Encoder()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    for epoch in range(args.epochs):
        losses = []
        for index in torch.randperm(len(x_train)).split(args.batch_size):
            loss = contrastive_loss(encoder(jitter(x_train[index])), y_train[index], args.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        score = few_shot_accuracy(encoder, x_train[few], y_train[few], x_test, y_test)
        print(f"epoch {epoch:2d} contrastive loss {sum(losses) / len(losses):.4f} few-shot accuracy {score:.4f}")


if __name__ == "__main__":
    main()
