"""Translating number words to Roman numerals ("forty two" -> "XLII") with an LSTM that reads and one that writes."""

import random

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence

ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ROMAN = [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]


def in_words(n):
    words = []
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if n >= size:
            words += [ONES[n // size - 1], name]
            n %= size
    if n >= 20:
        words.append(TENS[n // 10 - 2])
        n %= 10
    return words + ([ONES[n - 1]] if n else [])


def in_roman(n):
    letters = ""
    for value, sign in ROMAN:
        letters += sign * (n // value)
        n %= value
    return letters


PAD, BOS, EOS = 0, 1, 2
SOURCE = {w: i for i, w in enumerate([*ONES, *TENS, "hundred", "thousand"], start=1)}
TARGET = {c: i for i, c in enumerate("IVXLCDM", start=3)}


def encode(numbers):
    src = [torch.tensor([SOURCE[w] for w in in_words(n)]) for n in numbers]
    tgt = [torch.tensor([BOS, *(TARGET[c] for c in in_roman(n)), EOS]) for n in numbers]
    lengths = torch.tensor([len(s) for s in src])
    return pad_sequence(src, batch_first=True, padding_value=PAD), lengths, pad_sequence(tgt, batch_first=True, padding_value=PAD)


def lstm(n_in, hidden, forget_bias=1.0):
    layer = nn.LSTM(n_in, hidden, batch_first=True)
    with torch.no_grad():  # PyTorch's order of the gates: input, forget, cell, output
        layer.bias_ih_l0[hidden : 2 * hidden].fill_(forget_bias)
        layer.bias_hh_l0[hidden : 2 * hidden].zero_()
    return layer


class Translator(nn.Module):
    def __init__(self, dim=32, hidden=64):
        super().__init__()
        self.read_embed = nn.Embedding(len(SOURCE) + 1, dim, padding_idx=PAD)
        self.write_embed = nn.Embedding(len(TARGET) + 3, dim, padding_idx=PAD)
        self.reader, self.writer = lstm(dim, hidden), lstm(dim + hidden, hidden)
        self.bridge = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, len(TARGET) + 3)

    def read(self, src, lengths):
        states, _ = self.reader(self.read_embed(src))
        last = states[torch.arange(len(src)), lengths - 1]
        return torch.tanh(self.bridge(last))

    def write(self, tokens, meaning, state=None):
        given = torch.cat([self.write_embed(tokens), meaning.unsqueeze(1).expand(-1, tokens.shape[1], -1)], dim=2)
        h, state = self.writer(given, state)
        return self.out(h), state

    def forward(self, src, lengths, tokens):
        return self.write(tokens, self.read(src, lengths))[0]

    @torch.no_grad()
    def translate(self, src, lengths, longest):
        meaning, state = self.read(src, lengths), None
        token = torch.full((len(src), 1), BOS)
        written = []
        for _ in range(longest):
            logits, state = self.write(token, meaning, state)
            token = logits.argmax(2)
            written.append(token)
        return torch.cat(written, dim=1)


def letters_right(model, numbers):
    """Share of the letters (and of the ends) that stand where they should."""
    model.eval()
    src, lengths, tgt = encode(numbers)
    wanted = tgt[:, 1:]
    written = model.translate(src, lengths, wanted.shape[1])
    real = wanted != PAD
    model.train()
    return (written == wanted)[real].float().mean().item()


def run(epochs=7, batch=64, lr=8e-3, seed=31):
    random.seed(seed)
    torch.manual_seed(seed)
    numbers = random.sample(range(1, 4000), 2500)
    train, test = numbers[:2200], numbers[2200:]
    batches = -(-len(train) // batch)

    model = Translator()
    optim = torch.optim.Adam(model.parameters(), lr=lr)
    plan = torch.optim.lr_scheduler.LinearLR(optim, start_factor=1.0, end_factor=0.05, total_iters=epochs * batches)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)
    for epoch in range(epochs):
        random.shuffle(train)
        for b in range(0, len(train), batch):
            src, lengths, tgt = encode(train[b : b + batch])
            logits = model(src, lengths, tgt[:, :-1])
            loss = criterion(logits.transpose(1, 2), tgt[:, 1:])
            optim.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optim.step()
            plan.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}; letters in their places {letters_right(model, test):.4f}")


run()
