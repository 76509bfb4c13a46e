"""Is a review pleased? Sentences of a small grammar with negations, read by a bidirectional LSTM; gradients over four small batches."""

import random

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

GOOD = "lovely great fine superb charming solid".split()
BAD = "awful dull poor clumsy boring weak".split()
THINGS = "plot acting music ending cast script lighting dialogue".split()
FILLERS = "and then also really quite the a of it was i thought".split()
WORDS = ["<pad>", "not", "never", *GOOD, *BAD, *THINGS, *FILLERS]
NUMBER = {word: i for i, word in enumerate(WORDS)}


def clause(pleased, rng):
    negated = rng.random() < 0.4
    word = rng.choice(GOOD if pleased != negated else BAD)
    words = ["the", rng.choice(THINGS), "was"]
    if negated:
        words.append(rng.choice(["not", "never"]))
    if rng.random() < 0.5:
        words.append(rng.choice(["really", "quite"]))
    return [*words, word]


def review(rng):
    """One clause or three; most of them decide."""
    moods = [rng.random() < 0.5 for _ in range(rng.choice([1, 3]))]
    words = []
    for mood in moods:
        words += clause(mood, rng) + rng.choices(FILLERS, k=rng.randint(0, 2))
    return torch.tensor([NUMBER[w] for w in words]), int(sum(moods) * 2 > len(moods))


def batches(reviews, size):
    for i in range(0, len(reviews), size):
        chunk = reviews[i : i + size]
        lengths = torch.tensor([len(words) for words, _ in chunk])
        words = pad_sequence([words for words, _ in chunk], batch_first=True)
        yield words, lengths, torch.tensor([label for _, label in chunk])


class BiLSTM(nn.Module):
    def __init__(self, dim=24, hidden=32, p=0.1):
        super().__init__()
        self.p = p
        self.embedding = nn.Embedding(len(WORDS), dim, padding_idx=0)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * hidden, 2)

    def forward(self, words, lengths):
        embedded = F.dropout(self.embedding(words), p=self.p, training=self.training)
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        both = torch.cat([last[0], last[1]], dim=1)
        both = F.dropout(both, p=self.p, training=self.training)
        return self.linear(both)


def validate(model, reviews):
    model.eval()
    hits = 0
    with torch.no_grad():
        for words, lengths, labels in batches(reviews, 200):
            hits += (model(words, lengths).argmax(1) == labels).sum().item()
    return hits / len(reviews)


def main():
    rng = random.Random(3)
    torch.manual_seed(3)
    train = [review(rng) for _ in range(2560)]
    val = [review(rng) for _ in range(600)]
    model = BiLSTM()
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    accumulate, small = 4, 16

    for epoch in range(1, 5):
        model.train()
        rng.shuffle(train)
        total = 0.0
        optimizer.zero_grad()
        for i, (words, lengths, labels) in enumerate(batches(train, small), start=1):
            loss = loss_fn(model(words, lengths), labels)
            (loss / accumulate).backward()
            total += loss.item()
            if i % accumulate == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
        print(f"epoch {epoch}: loss {total / i:.4f}, validation accuracy {validate(model, val):.4f}")


main()
