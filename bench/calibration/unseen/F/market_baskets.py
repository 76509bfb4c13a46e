"""Who fills the basket? Three sorts of customers, one of them rare, are told apart by what they buy (bags of items)."""

import torch
import torch.nn as nn

ITEMS, SORTS, MICRO, PER_STEP = 60, 3, 24, 4


def shop(customers, seed):
    """Each basket holds 2 to 9 items; a sort of customers prefers some items. Item 0 is kept for padding."""
    g = torch.Generator().manual_seed(seed)
    taste = 1.5 * torch.randn(SORTS, ITEMS, generator=torch.Generator().manual_seed(77))
    sort = torch.multinomial(torch.tensor([0.62, 0.28, 0.10]), customers, replacement=True, generator=g)
    size = torch.randint(2, 10, (customers,), generator=g)
    chance = taste.softmax(dim=1)
    baskets = [1 + torch.multinomial(chance[s], n, replacement=True, generator=g) for s, n in zip(sort, size.tolist())]
    return baskets, sort


def collate(baskets, sort, rows):
    x = nn.utils.rnn.pad_sequence([baskets[i] for i in rows], batch_first=True, padding_value=0)
    return x, sort[rows]


class BasketModel(nn.Module):
    def __init__(self, dim=16, width=32):
        super().__init__()
        self.item = nn.Embedding(ITEMS + 1, dim)
        self.each = nn.Sequential(nn.Linear(dim, width), nn.ReLU())
        self.decide = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, SORTS))

    def forward(self, x):
        real = (x > 0).unsqueeze(-1).float()
        h = self.each(self.item(x)) * real
        h = h.sum(dim=1) / real.sum(dim=1)
        return self.decide(h)


def balanced_accuracy(model, baskets, sort):
    model.eval()
    hits, seen = torch.zeros(SORTS), torch.zeros(SORTS)
    with torch.no_grad():
        for rows in torch.arange(len(sort)).split(200):
            x, y = collate(baskets, sort, rows)
            right = (model(x).argmax(dim=1) == y).float()
            hits.index_add_(0, y, right)
            seen.index_add_(0, y, torch.ones_like(right))
    return (hits / seen).mean().item()


def fit(model, optimizer, loss_fn, baskets, sort):
    """One epoch; a step is made of a few micro batches."""
    model.train()
    micro = torch.randperm(len(sort)).split(MICRO)
    groups = [micro[i : i + PER_STEP] for i in range(0, len(micro), PER_STEP)]
    total = 0.0
    for group in groups:
        optimizer.zero_grad()
        for rows in group:
            x, y = collate(baskets, sort, rows)
            logits = model(x)
            loss = loss_fn(logits, y) / len(group)
            loss.backward()
            total += loss.item()
        optimizer.step()
    return total / len(groups)


def run():
    torch.manual_seed(0)
    baskets, sort = shop(9000, seed=1)
    other_baskets, other_sort = shop(1200, seed=2)
    share = torch.bincount(sort, minlength=SORTS) / len(sort)
    loss_fn = nn.CrossEntropyLoss(weight=1 / (SORTS * share))
    model = BasketModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2, 3], gamma=0.2)
    for epoch in range(4):
        loss = fit(model, optimizer, loss_fn, baskets, sort)
        schedule.step()
        score = balanced_accuracy(model, other_baskets, other_sort)
        print("epoch", epoch + 1, "loss", round(loss, 4), "balanced accuracy", round(score, 4))


run()
