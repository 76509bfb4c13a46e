"""Which desk gets the ticket? Words are pooled to sentences and sentences to tickets by attention; desks are unequally busy."""

import random

import torch
import torch.nn as nn
from sklearn.metrics import recall_score
from torch.nn.utils.rnn import pad_sequence

N_WORDS, PAD = 160, 0
DESKS = ["billing", "network", "account", "hardware"]
SHARES = [0.5, 0.28, 0.14, 0.08]


def write_tickets(n, rnd):
    """Two or three telling words, hidden among chatter, say which desk; they stand in one sentence of a ticket."""
    tickets = []
    for _ in range(n):
        desk = rnd.choices(range(4), SHARES)[0]
        ticket = [[rnd.randint(41, N_WORDS - 1) for _ in range(rnd.randint(3, 9))] for _ in range(rnd.randint(1, 5))]
        sentence = rnd.choice(ticket)
        for spot in rnd.sample(range(len(sentence)), rnd.randint(2, 3)):
            sentence[spot] = 1 + 10 * desk + rnd.randint(0, 9)
        if rnd.random() < 0.5:
            other = rnd.choice(ticket)
            other[0] = rnd.randint(1, 40)
        tickets.append((ticket, desk))
    return tickets


def collate(tickets):
    sentences = [torch.tensor(s) for ticket, _ in tickets for s in ticket]
    words = pad_sequence(sentences, batch_first=True, padding_value=PAD)
    per_ticket = words.split([len(ticket) for ticket, _ in tickets])
    return pad_sequence(per_ticket, batch_first=True, padding_value=PAD), torch.tensor([desk for _, desk in tickets])


class AttentionPool(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))

    def forward(self, x, mask):
        s = self.score(x).squeeze(-1).masked_fill(~mask, -1e4)
        return (s.softmax(dim=-1).unsqueeze(-1) * x).sum(dim=-2)


class TicketNet(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.embedding = nn.Embedding(N_WORDS, dim, padding_idx=PAD)
        self.word_pool = AttentionPool(dim)
        self.mix = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(0.3))
        self.sentence_pool = AttentionPool(dim)
        self.desk = nn.Linear(dim, len(DESKS))

    def forward(self, words):
        mask = words != PAD
        sentences = self.mix(self.word_pool(self.embedding(words), mask))
        ticket = self.sentence_pool(sentences, mask.any(dim=-1))
        return self.desk(ticket)


def run_epoch(model, tickets, criterion, optimizer, rnd):
    model.train()
    rnd.shuffle(tickets)
    total = 0.0
    for i in range(0, len(tickets), 32):
        words, desks = collate(tickets[i : i + 32])
        optimizer.zero_grad()
        loss = criterion(model(words), desks)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / (len(tickets) / 32)


def mean_recall(model, tickets):
    model.eval()
    words, desks = collate(tickets)
    with torch.inference_mode():
        return recall_score(desks, model(words).argmax(-1), average="macro")


def main():
    torch.manual_seed(0)
    rnd = random.Random(9)
    train, held_out = write_tickets(4800, rnd), write_tickets(800, rnd)
    busy = torch.bincount(torch.tensor([desk for _, desk in train]), minlength=len(DESKS))
    weight = len(train) / (len(DESKS) * busy.float())
    model = TicketNet()
    criterion = nn.CrossEntropyLoss(weight=weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)
    for epoch in range(1, 8):
        loss = run_epoch(model, train, criterion, optimizer, rnd)
        print(f"epoch {epoch} loss {loss:.4f} mean recall {mean_recall(model, held_out):.4f}")


if __name__ == "__main__":
    main()
