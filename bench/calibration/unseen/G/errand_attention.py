"""Errands in a town: a walk is a list of places; did the walker get to the baker before the mill? A small Transformer,
with attention written out, sees the places and where in the list they stand."""

import dataclasses
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PLACES, STOPS = 12, 14
BAKER, MILL, WELL = 1, 2, 3


@dataclasses.dataclass(frozen=True)
class Plan:
    walks: int = 4000
    width: int = 32
    heads: int = 4
    layers: int = 2
    batch: int = 50
    epochs: int = 6
    lr: float = 3e-3


def walks(n, rng):
    """Four answers: baker first or mill first, and whether the well lies between the two."""
    route = torch.randint(4, PLACES, (n, STOPS), generator=rng)
    stops = torch.rand(n, STOPS, generator=rng).argsort(dim=1)[:, :3]
    for column, place in enumerate((BAKER, MILL, WELL)):
        route.scatter_(1, stops[:, column : column + 1], place)
    baker, mill, well = stops.unbind(1)
    between = (well - baker).sign() != (well - mill).sign()
    return route, 2 * (baker < mill).long() + between.long()


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.depth = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)

    def forward(self, x):
        n, stops, width = x.shape
        q, k, v = self.qkv(x).view(n, stops, 3, self.heads, self.depth).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.depth)
        weights = scores.softmax(dim=-1)
        return self.merge((weights @ v).transpose(1, 2).reshape(n, stops, width))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


class ErrandNet(nn.Module):
    def __init__(self, plan):
        super().__init__()
        self.place = nn.Embedding(PLACES, plan.width)
        self.order = nn.Parameter(0.3 * torch.randn(STOPS, plan.width))
        self.layers = nn.Sequential(*(Layer(plan.width, plan.heads) for _ in range(plan.layers)))
        self.norm = nn.LayerNorm(plan.width)
        self.answer = nn.Linear(plan.width, 4)

    def forward(self, route):
        h = self.layers(self.place(route) + self.order)
        return self.answer(self.norm(h).mean(dim=1))


def evaluate(model, loader, loss_fn):
    model.eval()
    loss = right = 0.0
    with torch.no_grad():
        for route, answer in loader:
            logits = model(route)
            loss += loss_fn(logits, answer).item() * len(answer)
            right += (logits.argmax(-1) == answer).sum().item()
    return loss / len(loader.dataset), right / len(loader.dataset)


def main(plan):
    torch.manual_seed(17)
    rng = torch.Generator().manual_seed(71)
    train_set, val_set = TensorDataset(*walks(plan.walks, rng)), TensorDataset(*walks(1000, rng))
    train_loader = DataLoader(train_set, batch_size=plan.batch, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=250)

    model = ErrandNet(plan)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=plan.lr, epochs=plan.epochs, steps_per_epoch=len(train_loader)
    )
    for epoch in range(plan.epochs):
        model.train()
        for route, answer in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(route), answer)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            scheduler.step()
        val_loss, val_acc = evaluate(model, val_loader, loss_fn)
        print(f"epoch {epoch + 1}: last batch {loss.item():.4f} val loss {val_loss:.4f} val accuracy {val_acc:.4f}")
    print(f"val accuracy {evaluate(model, val_loader, loss_fn)[1]:.4f}")


if __name__ == "__main__":
    main(Plan())
