"""Mark the coding stretches of made-up genes, base by base, with a recurrent network that reads both ways."""

import random

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pad_sequence

BASES = "ACGT"
NOTHING = -100


def gene(rng):
    """Bases and marks (0 between, 1 coding, 2 spliced out); coding starts with ATG, splices are GT ... AG."""
    bases, marks = [], []

    def add(text, mark):
        bases.extend(BASES.index(c) for c in text)
        marks.extend([mark] * len(text))

    def some(low, high, weights):
        return "".join(rng.choices(BASES, weights, k=rng.randint(low, high)))

    add(some(4, 14, (3, 2, 2, 3)), 0)
    for _ in range(rng.randint(1, 2)):
        add("ATG" + some(5, 12, (2, 4, 4, 2)), 1)
        if rng.random() < 0.6:
            add("GT" + some(4, 10, (3, 1, 1, 4)) + "AG", 2)
            add(some(4, 9, (2, 4, 4, 2)), 1)
        add("TAA" + some(4, 12, (3, 2, 2, 3)), 0)
    return torch.tensor(bases), torch.tensor(marks)


class Marker(nn.Module):
    def __init__(self, dim=12, hidden=24):
        super().__init__()
        self.base = nn.Embedding(5, dim, padding_idx=4)
        self.window = nn.Conv1d(dim, 24, 5, padding=2)
        self.rnn = nn.GRU(24, hidden, bidirectional=True)
        self.mark = nn.Linear(2 * hidden, 3)

    def forward(self, ids, lengths):
        seen = torch.relu(self.window(self.base(ids).transpose(1, 2))).transpose(1, 2)
        steps = seen.transpose(0, 1)
        packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, enforce_sorted=False)
        out, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0])
        return F.log_softmax(self.mark(out.transpose(0, 1)), dim=-1)


def batches(genes, size, rng=None):
    order = list(range(len(genes)))
    if rng is not None:
        rng.shuffle(order)
    for at in range(0, len(order), size):
        chosen = [genes[i] for i in order[at : at + size]]
        ids = pad_sequence([b for b, _ in chosen], batch_first=True, padding_value=4)
        marks = pad_sequence([m for _, m in chosen], batch_first=True, padding_value=NOTHING)
        yield ids, marks, torch.tensor([len(b) for b, _ in chosen])


def evaluate(m, genes):
    m.eval()
    right = total = 0
    with torch.no_grad():
        for ids, marks, lengths in batches(genes, 100):
            real = torch.arange(ids.shape[1]) < lengths.unsqueeze(1)
            right += (m(ids, lengths).argmax(-1) == marks)[real].sum().item()
            total += real.sum().item()
    return right / total


rng = random.Random(8)
torch.manual_seed(8)
train, val, test = ([gene(rng) for _ in range(n)] for n in (520, 120, 200))
m = Marker()
o = torch.optim.Adam(m.parameters(), lr=8e-3)
s = torch.optim.lr_scheduler.StepLR(o, step_size=4, gamma=0.4)
crit = nn.NLLLoss(ignore_index=NOTHING)
for epoch in range(9):
    m.train()
    for ids, marks, lengths in batches(train, 26, rng):
        o.zero_grad()
        loss = crit(m(ids, lengths).flatten(0, 1), marks.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 2.0)
        o.step()
    s.step()
    print("epoch", epoch, "loss", round(loss.item(), 4), "val", round(evaluate(m, val), 4))
print("test accuracy per base:", round(evaluate(m, test), 4))
