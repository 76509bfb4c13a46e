"""A language model of toy stories: an LSTM with tied embeddings, warm-up, and accumulated gradients."""

import argparse
import random

import torch
import torch.nn.functional as F
from torch import nn

NOUNS = {"dog": "dogs", "cat": "cats", "child": "children", "bird": "birds", "king": "kings", "cook": "cooks"}
VERBS = {"sees": "see", "hears": "hear", "follows": "follow", "likes": "like"}
PLACES = ["garden", "house", "river", "tower"]
MOODS = ["happy", "tired", "hungry"]


def sentence(rng):
    many = rng.random() < 0.5
    noun = rng.choice(list(NOUNS))
    subject = ["many", NOUNS[noun]] if many else ["the", noun]
    if rng.random() < 0.4:
        return [*subject, "are" if many else "is", rng.choice(MOODS), "in", "the", rng.choice(PLACES), "."]
    verb = rng.choice(list(VERBS))
    return [*subject, VERBS[verb] if many else verb, "the", rng.choice(list(NOUNS)), "near", "the", rng.choice(PLACES), "."]


def corpus(rng, sentences):
    return [word for _ in range(sentences) for word in sentence(rng)]


class StoryModel(nn.Module):
    def __init__(self, n_words, dim=48, dropout=0.1):
        super().__init__()
        self.embed = nn.Embedding(n_words, dim)
        nn.init.normal_(self.embed.weight, std=dim**-0.5)
        self.drop = nn.Dropout(dropout)
        self.rnn = nn.LSTM(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, n_words)
        self.out.weight = self.embed.weight  # tied

    def forward(self, words):
        h, _ = self.rnn(self.drop(self.embed(words)))
        return self.out(self.drop(h))


def lm_loss(model, chunk):
    inputs, targets = chunk[:, :-1], chunk[:, 1:]
    logits = model(inputs)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def evaluate(model, chunks):
    model.eval()
    with torch.no_grad():
        return lm_loss(model, chunks).item()


def main(args):
    rng = random.Random(args.seed)
    torch.manual_seed(args.seed)
    train_words, test_words = corpus(rng, 2500), corpus(rng, 400)
    ids = {word: i for i, word in enumerate(sorted(set(train_words)))}
    length = args.context + 1

    def chunks(words):
        flat = torch.tensor([ids[w] for w in words])
        return flat[: len(flat) // length * length].view(-1, length)

    train, test = chunks(train_words), chunks(test_words)
    model = StoryModel(len(ids), dropout=args.dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / args.warmup))
    for epoch in range(args.epochs):
        model.train()
        batches = torch.randperm(len(train)).split(args.batch)
        batches = batches[: len(batches) // args.accumulate * args.accumulate]
        for i, rows in enumerate(batches):
            loss = lm_loss(model, train[rows])
            (loss / args.accumulate).backward()
            if (i + 1) % args.accumulate == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()
        print(f"epoch {epoch + 1} | train {loss.item():.3f} | held-out nats per word {evaluate(model, test):.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--context", type=int, default=24)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=2)
    main(parser.parse_args())
