"""Slots of spoken commands (BIO tags): words are ambiguous, so a bidirectional GRU has to look at both sides of them."""

import random

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

TAGS = ["O", "B-title", "I-title", "B-artist", "I-artist", "B-room", "I-room"]
NAMES = ["blue", "river", "stone", "night", "kitchen", "garden", "silver", "queen", "moon", "north", "door", "glass"]
POLITE = ["please", "now", "again", "thanks"]
SMALL = ["by", "in", "the", "on", "off"]
IGNORE = -100


def command(rnd):
    words, tags = [], []

    def say(text):
        for word in text.split():
            words.append(word)
            tags.append("O")

    def slot(kind, most):
        for k in range(rnd.randint(1, most)):
            odd = kind == "title" and rnd.random() < 0.12
            words.append(rnd.choice(SMALL if odd else NAMES))
            tags.append(("B-" if k == 0 else "I-") + kind)

    if rnd.random() < 0.3:
        say(rnd.choice(POLITE))
    how = rnd.randrange(4)
    if how == 0:
        say("play"), slot("title", 5), say("by"), slot("artist", 3)
    elif how == 1:
        say("put"), slot("title", 4), say("on in the"), slot("room", 2)
    elif how == 2:
        say("in the"), slot("room", 2), say("play something by"), slot("artist", 3)
    else:
        say("turn"), slot("artist", 3), say("off and"), slot("room", 2), say("lights down")
    if rnd.random() < 0.3:
        say(rnd.choice(POLITE))
    return words, tags


def corpus(n, seed):
    rnd = random.Random(seed)
    pairs = [command(rnd) for _ in range(n)]
    return [w for w, _ in pairs], [t for _, t in pairs]


class Tagger(nn.Module):
    def __init__(self, n_words, emb=24, hidden=32):
        super().__init__()
        self.emb = nn.Embedding(n_words, emb, padding_idx=0)
        self.rnn = nn.GRU(emb, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, len(TAGS))

    def forward(self, ids, lengths):
        packed = pack_padded_sequence(self.emb(ids), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.fc(states)


def numbered(sentences, table):
    return [torch.tensor([table[item] for item in s]) for s in sentences]


def batches(words, tags, size, shuffle):
    order = torch.randperm(len(words)).tolist() if shuffle else list(range(len(words)))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        ids = pad_sequence([words[i] for i in chosen], batch_first=True)
        gold = pad_sequence([tags[i] for i in chosen], batch_first=True, padding_value=IGNORE)
        lengths = torch.tensor([len(words[i]) for i in chosen])
        yield ids, lengths, gold


def exact(model, words, tags):
    """Share of commands in which every tag is right."""
    model.eval()
    right = 0
    with torch.no_grad():
        for ids, lengths, gold in batches(words, tags, 100, shuffle=False):
            said = model(ids, lengths).argmax(2)
            right += ((said == gold) | (gold == IGNORE)).all(1).sum().item()
    model.train()
    return right / len(words)


if __name__ == "__main__":
    torch.manual_seed(2)
    word_lists, tag_lists = corpus(1200, seed=10)
    dev_words, dev_tags = corpus(400, seed=11)
    vocab = {w: i + 1 for i, w in enumerate(sorted({w for s in word_lists for w in s}))}
    tag_ids = {t: i for i, t in enumerate(TAGS)}
    x, y = numbered(word_lists, vocab), numbered(tag_lists, tag_ids)
    dev_x, dev_y = numbered(dev_words, vocab), numbered(dev_tags, tag_ids)

    model = Tagger(len(vocab) + 1)
    loss_fn = nn.CrossEntropyLoss(ignore_index=IGNORE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    MICRO, ACCUMULATE = 8, 4
    for epoch in range(5):
        total = 0.0
        for i, (ids, lengths, gold) in enumerate(batches(x, y, MICRO, shuffle=True), start=1):
            loss = loss_fn(model(ids, lengths).flatten(0, 1), gold.flatten())
            (loss / ACCUMULATE).backward()
            total += loss.item()
            if i % ACCUMULATE == 0:
                optimizer.step()
                optimizer.zero_grad()
        print(f"epoch {epoch + 1} loss {total / i:.4f} dev exact match {exact(model, dev_x, dev_y):.4f}")
