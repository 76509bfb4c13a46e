"""Which of four market languages is a phrase in? The greeting at its start decides, whatever chatter follows."""

import argparse
import math
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

LETTERS = "abcdefghijklmnop"
GREETINGS = ("kola", "loka", "kalo", "olak")  # the same letters: their order has to be read


def phrase(rnd):
    tongue = rnd.randrange(len(GREETINGS))
    chatter = "".join(rnd.choice(LETTERS) for _ in range(rnd.randint(4, 36)))
    return GREETINGS[tongue] + chatter, tongue


def encode(pairs):
    words = [torch.tensor([1 + LETTERS.index(c) for c in text]) for text, _ in pairs]
    lengths = torch.tensor([len(w) for w in words])
    return pad_sequence(words, batch_first=True), lengths, torch.tensor([tongue for _, tongue in pairs])


class Listener(nn.Module):
    def __init__(self, emb=16, hidden=48, longest=40):
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS) + 1, emb, padding_idx=0)
        self.lstm = nn.LSTM(emb, hidden, batch_first=True)
        self.out = nn.Linear(hidden, len(GREETINGS))
        with torch.no_grad():  # forget slowly: the gates start with memories of up to `longest` letters
            keep = torch.empty(hidden).uniform_(1, longest - 1).log()
            self.lstm.bias_ih_l0[hidden : 2 * hidden] = keep
            self.lstm.bias_ih_l0[:hidden] = -keep
            self.lstm.bias_hh_l0.zero_()

    def forward(self, x, lengths):
        states, _ = self.lstm(self.letters(x))
        last = states[torch.arange(len(x)), lengths - 1]
        return self.out(last)


def accuracy(model, pairs):
    model.eval()
    with torch.no_grad():
        x, lengths, y = encode(pairs)
        return (model(x, lengths).argmax(dim=1) == y).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--phrases", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--micro", type=int, default=16)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--lr", type=float, default=5e-3)
    args = parser.parse_args()
    rnd = random.Random(4)
    torch.manual_seed(4)
    train = [phrase(rnd) for _ in range(args.phrases)]
    val = [phrase(rnd) for _ in range(600)]
    model = Listener()
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    per_epoch = math.ceil(args.phrases / args.micro)
    for epoch in range(args.epochs):
        model.train()
        rnd.shuffle(train)
        total = 0.0
        optimizer.zero_grad()
        for i in range(per_epoch):
            x, lengths, y = encode(train[i * args.micro : (i + 1) * args.micro])
            loss = loss_fn(model(x, lengths), y)
            (loss / args.accumulate).backward()
            total += loss.item()
            if (i + 1) % args.accumulate == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
        if epoch % 2 == 1:
            print(f"epoch {epoch + 1}: loss {total / per_epoch:.4f}, val accuracy {accuracy(model, val):.4f}")
    print(f"val accuracy {accuracy(model, val):.4f}")


if __name__ == "__main__":
    main()
