"""Which account does an expense note belong to? Bags of words of very different lengths, rare accounts."""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.data import DataLoader

PAD = 0
ACCOUNTS = ("travel", "meals", "office", "software", "legal")


@dataclass
class Plan:
    shares: list = field(default_factory=lambda: [0.4, 0.28, 0.16, 0.1, 0.06])
    words_each: int = 14
    common: int = 40
    dim: int = 10
    hidden: int = 32
    batch: int = 40
    epochs: int = 8
    lr: float = 3e-3
    temper: float = 0.5
    seed: int = 41


def write_notes(n, plan, gen):
    """Notes are mostly words of everybody; a quarter of the words, never none, are typical of the account."""
    accounts = torch.multinomial(torch.tensor(plan.shares), n, replacement=True, generator=gen)
    notes = []
    for account in accounts.tolist():
        length = int(torch.randint(4, 30, (), generator=gen))
        words = torch.randint(1, plan.common + 1, (length,), generator=gen)
        typical = 1 + plan.common + account * plan.words_each
        n_typical = 2 + length // 5
        words[:n_typical] = torch.randint(typical, typical + plan.words_each, (n_typical,), generator=gen)
        stray = 1 + plan.common + int(torch.randint(0, len(ACCOUNTS) * plan.words_each, (), generator=gen))
        words[-1] = stray
        notes.append((words[torch.randperm(length, generator=gen)], account))
    return notes


def collate(notes):
    words = nn.utils.rnn.pad_sequence([w for w, _ in notes], batch_first=True, padding_value=PAD)
    return words, torch.tensor([a for _, a in notes])


class NoteReader(nn.Module):
    def __init__(self, vectors, hidden):
        super().__init__()
        self.words = nn.Embedding.from_pretrained(vectors, freeze=False)
        self.hidden = nn.Linear(vectors.shape[1], hidden)
        self.out = nn.Linear(hidden, len(ACCOUNTS))

    def forward(self, ids):
        there = (ids != PAD).unsqueeze(-1).float()
        summary = (self.words(ids) * there).sum(1) / there.sum(1)
        return self.out(torch.relu(self.hidden(summary)))


def account_weights(notes, plan):
    counts = torch.bincount(torch.tensor([a for _, a in notes]), minlength=len(ACCOUNTS)).float()
    return (counts.mean() / counts) ** plan.temper


@torch.no_grad()
def balanced_accuracy(reader, loader):
    reader.eval()
    right, seen = torch.zeros(len(ACCOUNTS)), torch.zeros(len(ACCOUNTS))
    for ids, account in loader:
        hit = (reader(ids).argmax(1) == account).float()
        right.index_add_(0, account, hit)
        seen.index_add_(0, account, torch.ones_like(hit))
    return (right / seen).mean().item()


def main(plan):
    torch.manual_seed(plan.seed)
    gen = torch.Generator().manual_seed(plan.seed)
    train, val, test = (write_notes(n, plan, gen) for n in (2400, 600, 900))
    train_loader = DataLoader(train, plan.batch, shuffle=True, collate_fn=collate)
    val_loader, test_loader = (DataLoader(part, 150, collate_fn=collate) for part in (val, test))

    n_words = 1 + plan.common + len(ACCOUNTS) * plan.words_each
    reader = NoteReader(0.5 * torch.randn(n_words, plan.dim), plan.hidden)
    criterion = nn.CrossEntropyLoss(weight=account_weights(train, plan))
    optimizer = torch.optim.Adam(reader.parameters(), lr=plan.lr)

    for epoch in range(plan.epochs):
        reader.train()
        total = 0.0
        for ids, account in train_loader:
            loss = criterion(reader(ids), account)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        score = balanced_accuracy(reader, val_loader)
        print(f"epoch {epoch}: train loss {total / len(train_loader):.4f}, validation balanced accuracy {score:.4f}")
    print("test balanced accuracy", round(balanced_accuracy(reader, test_loader), 4))


if __name__ == "__main__":
    main(Plan())
