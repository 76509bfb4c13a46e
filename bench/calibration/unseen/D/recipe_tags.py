"""Which tags does a recipe get from its ingredients? Several at once, from lists of any length (some are empty)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

VOCABULARY, TAGS = 80, 8


def cook(n, rng, weights):
    """Ingredients (1, 2, ...; 0 is kept for padding) and the tags: one is given if the mean leaning to it is strong."""
    recipes = []
    for _ in range(n):
        count = 0 if rng.random() < 0.02 else int(rng.integers(3, 16))
        items = rng.choice(np.arange(1, VOCABULARY), size=count, replace=False)
        leaning = weights[items].sum(0) / max(count, 1) ** 0.5
        recipes.append((torch.tensor(items, dtype=torch.long), torch.tensor(leaning > 0.3, dtype=torch.float32)))
    return recipes


def collate(recipes):
    items, tags = zip(*recipes)
    return pad_sequence(items, batch_first=True), torch.stack(tags)


class Tagger(nn.Module):
    def __init__(self, dim=32, hidden=64, keep=0.9):
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, dim, padding_idx=0)
        self.each = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU())
        self.drop = nn.Dropout(1 - keep)
        self.out = nn.Linear(hidden, TAGS)

    def forward(self, items):
        real = (items != 0).float().unsqueeze(2)
        h = self.each(self.table(items)) * real
        pooled = h.sum(1) / real.sum(1).clamp(min=1)
        return self.out(self.drop(pooled))


def tag_loss(logits, tags):
    """Summed over the tags, averaged over the recipes."""
    per_tag = F.binary_cross_entropy_with_logits(logits, tags, reduction="none")
    return per_tag.sum(dim=1).mean()


def micro_f1(model, loader):
    model.eval()
    both = found = true = 0
    with torch.no_grad():
        for items, tags in loader:
            guess = (model(items) > 0).float()
            both += (guess * tags).sum().item()
            found += guess.sum().item()
            true += tags.sum().item()
    return 2 * both / (found + true)


torch.manual_seed(5)
rng = np.random.default_rng(5)
leanings = rng.normal(size=(VOCABULARY, TAGS))
train_loader = DataLoader(cook(2400, rng, leanings), batch_size=32, shuffle=True, collate_fn=collate)
val_loader = DataLoader(cook(600, rng, leanings), batch_size=100, collate_fn=collate)

tagger = Tagger()
optimizer = torch.optim.SGD(tagger.parameters(), lr=0.3, momentum=0.9, nesterov=True)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
for epoch in range(12):
    tagger.train()
    running = 0.0
    for items, tags in train_loader:
        loss = tag_loss(tagger(items), tags)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item()
    scheduler.step()
    print(f"epoch {epoch:2d}  loss {running / len(train_loader):.3f}  micro F1 {micro_f1(tagger, val_loader):.4f}")
